"""The recorder that users call, and recorded runs read back."""
