"""Import: any CSV file becomes commands, as a mapping file says, through the public bulk endpoint.

mapping    the mapping file, read and checked
cells      what one cell means: types, formats, missing markers
values     what a command carries: templates, arrays, sums; and the conditions that choose among rules
rows       the file, row by row, gathered into documents
plan       what a document becomes: commands, special rows, and the outcome of each row
client     commands sent in chunks, several on their way at once, again when the service asks for it
summary    every row counted under exactly one outcome
run        one import from end to end
"""
