"""BibTeX entries of the papers behind this plugin."""

ZHANG_2019 = """@inproceedings{zhang2019aet,
  author = {Liheng Zhang and Guo-Jun Qi and Liqiang Wang and Jiebo Luo},
  title = {{AET} vs. {AED}: Unsupervised Representation Learning by Auto-Encoding Transformations rather than Data},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019}
}"""
GIDARIS_2018 = """@inproceedings{gidaris2018unsupervised,
  author = {Spyros Gidaris and Praveer Singh and Nikos Komodakis},
  title = {Unsupervised Representation Learning by Predicting Image Rotations},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}"""
HJELM_2019 = """@inproceedings{hjelm2019learning,
  author = {R Devon Hjelm and Alex Fedorov and Samuel Lavoie-Marchildon and Karan Grewal and Phil Bachman and
            Adam Trischler and Yoshua Bengio},
  title = {Learning deep representations by mutual information estimation and maximization},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""
