"""Layouts of parameter-efficient fine-tuning on a pretrained encoder, many of them trained in one pass."""
