"""The compact General Reward Model: labels, pairs, network, fit, anchors, potential, scores."""
