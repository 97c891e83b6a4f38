"""
From the values of a request to the arguments of a function.

A module may import only modules above it in this list:

  - annotations: reads signatures, with forward references and aliases resolved
  - unfit: the exception for a value that does not fit, and its message
  - texts: rewrites text such as C{05} or C{on} into the form that msgspec reads
  - places: finds the place of an error, with the keys of dicts
  - messages: explains msgspec's errors in plain words
  - finite: finds NaN and infinity
  - defaults: completes instances of dataclasses
  - limits: honours the metadata of annotated_types
  - models: converts with pydantic
  - converters: converts with msgspec, and chooses the converter for an annotation
  - parameters: the parameters of a function, each with its converter
"""
