"""BibTeX entries of the papers behind this plugin."""

BELGHAZI_2018 = """@inproceedings{belghazi2018mutual,
  author = {Mohamed Ishmael Belghazi and Aristide Baratin and Sai Rajeshwar and Sherjil Ozair and Yoshua Bengio and
            Aaron Courville and R Devon Hjelm},
  title = {Mutual Information Neural Estimation},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}"""
OORD_2018 = """@misc{oord2018representation,
  author = {Aaron van den Oord and Yazhe Li and Oriol Vinyals},
  title = {Representation Learning with Contrastive Predictive Coding},
  howpublished = {arXiv:1807.03748},
  year = {2018}
}"""
