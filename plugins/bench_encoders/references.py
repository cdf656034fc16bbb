"""BibTeX entries of the papers behind this plugin."""

LIN_2014 = """@inproceedings{lin2014network,
  author = {Min Lin and Qiang Chen and Shuicheng Yan},
  title = {Network In Network},
  booktitle = {International Conference on Learning Representations},
  year = {2014}
}"""
GIDARIS_2018 = """@inproceedings{gidaris2018unsupervised,
  author = {Spyros Gidaris and Praveer Singh and Nikos Komodakis},
  title = {Unsupervised Representation Learning by Predicting Image Rotations},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}"""
HE_2016 = """@inproceedings{he2016deep,
  author = {Kaiming He and Xiangyu Zhang and Shaoqing Ren and Jian Sun},
  title = {Deep Residual Learning for Image Recognition},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2016}
}"""
KRIZHEVSKY_2014 = """@misc{krizhevsky2014one,
  author = {Alex Krizhevsky},
  title = {One weird trick for parallelizing convolutional neural networks},
  howpublished = {arXiv:1404.5997},
  year = {2014}
}"""
HJELM_2019 = """@inproceedings{hjelm2019learning,
  author = {R Devon Hjelm and Alex Fedorov and Samuel Lavoie-Marchildon and Karan Grewal and Phil Bachman and
            Adam Trischler and Yoshua Bengio},
  title = {Learning deep representations by mutual information estimation and maximization},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""
