"""What tests of several rooms share: reading files by hand, Markdown blocks, child processes."""
