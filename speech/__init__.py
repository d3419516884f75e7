"""Speech: audio files, corpora and which of their utterances can be used, alphabets and augmentation."""
