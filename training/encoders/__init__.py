"""What turns pictures and words into the tensors that a model trains on."""
