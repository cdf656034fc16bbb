"""The peak memory of a process that a test starts."""

PEAK_MEMORY = '''
def peak_memory():
    """Bytes. On Linux, `ru_maxrss` would start with the peak of the process that started this one."""
    import resource, sys
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
'''
"""Source code of a function, for a script that is run in another process."""
