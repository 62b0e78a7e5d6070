"""One module per version, in numerical order; a released one is never changed."""
