"""What travels and what is stored: one codec, the blocks, the messages, the tensors."""
