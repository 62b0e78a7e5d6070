"""What goes, and when: segments over a size, whole sessions, and who may still need them."""
