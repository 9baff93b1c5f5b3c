"""What people download of themselves, read as interactions: who heard, rated or liked what, when.

A *source* is one kind of export (`registry.SOURCES` lists them). Each has a module here with two
functions: `sniff(head)`, how sure it is that the beginning of a file is its own, and
`read(reading)`, which yields `Interactions`, columns of some thousand rows. Files are recognised by
their content alone. `reading.read_paths` goes from paths to `Collected`; `own_form`
writes and extends the files a node learns from.

Rules of the room:

- A file is hostile until it is read: records, lines, nesting, unpacked sizes and numbers of members
  are bounded, and no part of an archive is ever written under a name of its own.
- What a row lacks is a reason to drop it, counted, with the first places. What is wrong with a file
  is a DataError.
- Private fields (addresses, countries, user names) are never kept: a reader names what it wants,
  and of JSON nothing else is decoded.
- Nothing here is imported by a node that runs; the libraries that help to read are not either.
"""
