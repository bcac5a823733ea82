"""Encoders: images to embeddings. One file an encoder; see ports.Encoder."""
