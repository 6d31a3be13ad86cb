"""What the notebooks let a reader predict before it is measured: name -> the question, in short."""

PREDICTIONS = {
    "01-deeper": "which plain network has the lower training loss, the one of 8 or of 38 layers",
    "02-identity-parameters": "the trainable parameters of an identity block of 16 channels",
    "02-projection": "output shape and trainable parameters of a projection block, 16 -> 32",
    "02-bottleneck": "how many times the parameters of a bottleneck a basic block has",
    "03-resnet56": "n, blocks and convolutions in blocks of ResNet-56",
    "03-constant": "what a constant before a BN changes in the output",
    "03-rate": "the rate of the copied schedule in epochs 80 and 81, counted from 0",
    "04-cut": "the share of the stream that the ReLU of a block sets to zero",
    "04-sum": "whether the branches add up, in v1 and in v2",
    "04-first-blocks": "the stages in whose first blocks the two forms of v2 differ",
    "04-example": "how many times the parameters of the paper's ResNet-164 the example's has",
    "04-gradients": "the version whose gradients are more even before training, v1 or v2",
    "05-stem": "shapes behind the convolution and the maximum of ResNet-50's stem",
    "05-layers": "how ResNet-50 gets to 50 layers",
    "05-forms": "what Keras' ResNet-50 has that the paper's has not",
    "05-18-or-20": "how many times the parameters of ResNet-20 ResNet-18 has",
    "07-smallest": "how many times smaller than ResNet-50 the best network is",
    "07-training-mode": "the accuracy in training mode: mixed batches, one class, one picture",
    "07-one-seed": "how many different kernels of 53 are left if all layers have one seed",
}
