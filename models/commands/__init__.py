"""One module a command of `edge-models`; heavy imports stay inside the functions, so that help is quick."""
