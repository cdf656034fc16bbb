"""BibTeX entries of the papers behind this plugin."""

HJELM_2019 = """@inproceedings{hjelm2019learning,
  author = {R Devon Hjelm and Alex Fedorov and Samuel Lavoie-Marchildon and Karan Grewal and Phil Bachman and
            Adam Trischler and Yoshua Bengio},
  title = {Learning deep representations by mutual information estimation and maximization},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""
