"""Speech: audio files, corpora, what of them can be used, alphabets, augmentation."""
