"""Image classifiers: small networks, shipped backbones, data sets and transfer learning."""
