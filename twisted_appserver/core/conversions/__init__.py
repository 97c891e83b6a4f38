"""
Converts the values of a request to the arguments of a function.

A module may import only modules above it in this list:

  - annotations: reads signatures and resolves forward references and type aliases
  - conversion_error: the exception for a value that cannot be converted, and its message
  - lenient_text: rewrites text such as C{05} or C{on} into the form that msgspec reads
  - error_paths: finds the failing member of a value, including the keys of dicts
  - messages: explains msgspec's errors in plain words
  - finite: finds NaN and infinity
  - dataclass_defaults: fills in the fields of dataclasses that a request leaves out
  - limits: checks the metadata of annotated_types
  - value_order: puts the values of enumerations in schemas into the order of their definition
  - pydantic_models: converts with pydantic
  - msgspec_converter: converts with msgspec
  - converters: the interface of converters, and the converter for an annotation
  - parameters: the parameters of a function, each with its converter
"""
