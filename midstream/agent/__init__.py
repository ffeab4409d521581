"""What an agent's turn says and does, without input or output: prompt, parameters, loop, checks."""
