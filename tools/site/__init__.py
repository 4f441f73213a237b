"""The site of the documents: pages of docs/, and a reference that is made of the code. `make docs` builds it."""
