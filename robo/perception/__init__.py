"""Pixels to tensors: view batches, augmentation, spatial softmax."""
