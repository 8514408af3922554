"""What every scene draws with: a smooth canvas, fonts, palettes, words, photographs."""
