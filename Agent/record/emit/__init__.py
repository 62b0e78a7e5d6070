"""Turn a prepared event into its line: context, levels and pipeline."""
