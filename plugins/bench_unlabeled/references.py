"""BibTeX entries of the papers behind this plugin."""

GARRIDO_2023 = """@inproceedings{garrido2023rankme,
  author = {Quentin Garrido and Randall Balestriero and Laurent Najman and Yann LeCun},
  title = {{RankMe}: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by Their Rank},
  booktitle = {International Conference on Machine Learning},
  year = {2023}
}"""
AGRAWAL_2022 = r"""@inproceedings{agrawal2022alpha,
  author = {Kumar Krishna Agrawal and Arnab Kumar Mondal and Arna Ghosh and Blake Richards},
  title = {$\alpha$-{ReQ}: Assessing Representation Quality in Self-Supervised Learning by measuring eigenspectrum decay},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022}
}"""
THILAK_2024 = """@inproceedings{thilak2024lidar,
  author = {Vimal Thilak and Chen Huang and Omid Saremi and Laurent Dinh and Hanlin Goh and Preetum Nakkiran and
            Joshua M. Susskind and Etai Littwin},
  title = {{LiDAR}: Sensing Linear Probing Performance in Joint Embedding {SSL} Architectures},
  booktitle = {International Conference on Learning Representations},
  year = {2024}
}"""
FACCO_2017 = """@article{facco2017estimating,
  author = {Elena Facco and Maria d'Errico and Alex Rodriguez and Alessandro Laio},
  title = {Estimating the intrinsic dimension of datasets by a minimal neighborhood information},
  journal = {Scientific Reports},
  year = {2017}
}"""
ANSUINI_2019 = """@inproceedings{ansuini2019intrinsic,
  author = {Alessio Ansuini and Alessandro Laio and Jakob H. Macke and Davide Zoccolan},
  title = {Intrinsic dimension of data representations in deep neural networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019}
}"""
WANG_2020 = """@inproceedings{wang2020understanding,
  author = {Tongzhou Wang and Phillip Isola},
  title = {Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}"""
KORNBLITH_2019 = """@inproceedings{kornblith2019similarity,
  author = {Simon Kornblith and Mohammad Norouzi and Honglak Lee and Geoffrey Hinton},
  title = {Similarity of Neural Network Representations Revisited},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}"""
NGUYEN_2021 = """@inproceedings{nguyen2021wide,
  author = {Thao Nguyen and Maithra Raghu and Simon Kornblith},
  title = {Do Wide and Deep Networks Learn the Same Things? Uncovering How Neural Network Representations Vary with
           Width and Depth},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}"""
VINH_2010 = """@article{vinh2010information,
  author = {Nguyen Xuan Vinh and Julien Epps and James Bailey},
  title = {Information Theoretic Measures for Clusterings Comparison: Variants, Properties, Normalization and Correction
           for Chance},
  journal = {Journal of Machine Learning Research},
  year = {2010}
}"""
HUBERT_1985 = """@article{hubert1985comparing,
  author = {Lawrence Hubert and Phipps Arabie},
  title = {Comparing partitions},
  journal = {Journal of Classification},
  year = {1985}
}"""
