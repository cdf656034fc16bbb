"""BibTeX entries of the papers behind this plugin."""

ALAIN_2016 = """@misc{alain2016understanding,
  author = {Guillaume Alain and Yoshua Bengio},
  title = {Understanding intermediate layers using linear classifier probes},
  howpublished = {arXiv:1610.01644},
  year = {2016}
}"""
WU_2018 = """@inproceedings{wu2018unsupervised,
  author = {Zhirong Wu and Yuanjun Xiong and Stella X. Yu and Dahua Lin},
  title = {Unsupervised Feature Learning via Non-Parametric Instance Discrimination},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2018}
}"""
MANNING_2008 = r"""@book{manning2008introduction,
  author = {Christopher D. Manning and Prabhakar Raghavan and Hinrich Sch{\"u}tze},
  title = {Introduction to Information Retrieval},
  publisher = {Cambridge University Press},
  year = {2008}
}"""
