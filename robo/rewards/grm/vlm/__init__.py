"""Vision-language backbones of the General Reward Model: Qwen2.5-VL and Qwen3-VL."""
