"""The features that autoencoders learn, with and without dropout."""
