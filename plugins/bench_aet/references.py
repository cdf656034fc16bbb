"""BibTeX entries of the papers behind this plugin."""

ZHANG_2019 = """@inproceedings{zhang2019aet,
  author = {Liheng Zhang and Guo-Jun Qi and Liqiang Wang and Jiebo Luo},
  title = {{AET} vs. {AED}: Unsupervised Representation Learning by Auto-Encoding Transformations rather than Data},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019}
}"""
