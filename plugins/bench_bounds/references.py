"""BibTeX entries of the papers behind this plugin."""

GIDARIS_2018 = """@inproceedings{gidaris2018unsupervised,
  author = {Spyros Gidaris and Praveer Singh and Nikos Komodakis},
  title = {Unsupervised Representation Learning by Predicting Image Rotations},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}"""
