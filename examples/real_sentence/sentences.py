"""The sentences of the example: one to look into, ten to compare."""

SENTENCE = "The animal didn't cross the street because it was too tired."

TEN = [
    SENTENCE,
    "The creature was exhausted, so it stayed on its side of the road.",
    "The street was too wide for the animal to cross.",
    "A cat is sleeping on the sofa.",
    "A kitten naps on the couch.",
    "Each token looks at every other token of the sequence.",
    "Self-attention relates all positions of a sentence to one another.",
    "How do I install a Python package?",
    "Which command adds a library to my Python environment?",
    "It will rain in the mountains tomorrow.",
]
