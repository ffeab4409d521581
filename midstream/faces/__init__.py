"""Who asks: one file per face, each with its routes, its reading and its way to answer and to refuse."""
