"""Products of int8 by int8: one scale a row of the weight, one a token of the input."""

from slimdit.models.compression.quantization import TokenQuantization


class Int8Dynamic(TokenQuantization):
    """torchao's Int8DynamicActivationInt8WeightConfig where every token goes through."""

    configuration = "Int8DynamicActivationInt8WeightConfig"
    multiple = 8
