"""int8 times int8, one scale a row of the weight, one a token of the input: the vector-wise scheme
of Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
arXiv:2208.07339.
"""

from slimdit.models.compression.quantization import TokenQuantization


class Int8Dynamic(TokenQuantization):
    """torchao's Int8DynamicActivationInt8WeightConfig where every token goes through."""

    configuration = "Int8DynamicActivationInt8WeightConfig"
    multiple_of = 8
