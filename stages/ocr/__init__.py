"""OCR: the text that stands in every image, for captions and for predicates."""
