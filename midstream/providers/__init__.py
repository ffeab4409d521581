"""Who answers: one small file per service. A new file is a new provider; nobody has to be told about it."""
