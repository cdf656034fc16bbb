"""BibTeX entries of the datasets of this plugin."""

ALPAYDIN_1998 = """@misc{alpaydin1998optical,
  author = {E. Alpaydin and C. Kaynak},
  title = {Optical Recognition of Handwritten Digits},
  howpublished = {UCI Machine Learning Repository},
  year = {1998}
}"""
KRIZHEVSKY_2009 = """@techreport{krizhevsky2009learning,
  author = {Alex Krizhevsky},
  title = {Learning Multiple Layers of Features from Tiny Images},
  institution = {University of Toronto},
  year = {2009}
}"""
COATES_2011 = """@inproceedings{coates2011analysis,
  author = {Adam Coates and Honglak Lee and Andrew Y. Ng},
  title = {An Analysis of Single-Layer Networks in Unsupervised Feature Learning},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year = {2011}
}"""
