"""Files and folders that operating systems, file servers and programs leave beside images. They are never images."""

from __future__ import annotations

FOLDERS = frozenset(
    {
        "__macosx",  # archives made on macOS
        "__pycache__",
        "@eadir",  # Synology
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "$recycle.bin",  # Windows
        "recycler",
        "system volume information",
        "lost+found",  # Linux
        "network trash folder",
        "temporary items",
    }
)
"""In lower case. Folders whose name starts with a dot (.git, .ipynb_checkpoints, .thumbnails) are left out as well."""
FILES = frozenset(
    {
        ".ds_store",  # macOS
        ".localized",
        "icon\r",
        "thumbs.db",  # Windows
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "picasa.ini",
        ".picasa.ini",
        ".directory",  # KDE
        ".nomedia",  # Android
        ".gitkeep",
        ".gitignore",
        ".gitattributes",
    }
)
"""In lower case."""


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is left out with everything in it."""
    return name.startswith(".") or name.lower() in FOLDERS


def is_system_file(name: str) -> bool:
    """Whether a file of this name is left out without a remark. `._a.png` holds macOS attributes of `a.png`."""
    return name.startswith("._") or name.lower() in FILES
