"""The C code of each operation: small static functions, of which a header gets those that its net needs.

``@`` stands for the prefix of the net's names. Rows are `float x[]` and `float y[]`; numbers of columns are `int`.
"""

from __future__ import annotations

# Of one number: an expression of x, and of a, the activation's parameter.
ACTIVATIONS: dict[str, str] = {
    "relu": "x > 0.0f ? x : 0.0f",
    "leaky_relu": "x > 0.0f ? x : a * x",
    "relu6": "x > 0.0f ? (x < 6.0f ? x : 6.0f) : 0.0f",
    "elu": "x > 0.0f ? x : a * expm1f(x)",
    "selu": "1.05070099f * (x > 0.0f ? x : 1.67326324f * expm1f(x))",
    "celu": "x > 0.0f ? x : a * expm1f(x / a)",
    "gelu": "0.5f * x * erfcf(-0.707106781f * x)",
    "silu": "x * @sigmoid(x, a)",
    "mish": "x * tanhf(@softplus(x, a))",
    "softplus": "(x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)))",
    "softsign": "x / (1.0f + fabsf(x))",
    "tanh": "tanhf(x)",
    "sigmoid": "(x >= 0.0f ? 1.0f : expf(x)) / (1.0f + expf(-fabsf(x)))",
    "hard_sigmoid": "@between(x + 3.0f, 0.0f, 6.0f) / 6.0f",
    "exponential": "expf(x)",
    "log_sigmoid": "-@softplus(-x, a)",
    "hard_silu": "x * (@between(x + 3.0f, 0.0f, 6.0f) / 6.0f)",
    "hard_tanh": "@between(x, -1.0f, 1.0f)",
    "tanh_shrink": "x - tanhf(x)",
    "soft_shrink": "x > a ? x - a : x < -a ? x + a : 0.0f",
    "hard_shrink": "x > a || x < -a ? x : 0.0f",
    "squareplus": "(x > 0.0f ? x : 0.0f) + 0.5f * a / (sqrtf(x * x + a) + fabsf(x))",
    "sparse_plus": "x <= -1.0f ? 0.0f : x >= 1.0f ? x : 0.25f * (x + 1.0f) * (x + 1.0f)",
    "sparse_sigmoid": "@between(0.5f * (x + 1.0f), 0.0f, 1.0f)",
}
USES = {"silu": ("sigmoid",), "mish": ("softplus",), "log_sigmoid": ("softplus",)}

BETWEEN = """
static inline float @between(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
"""

# Of rows. Each is (signature, body); the arguments behind the sizes are arrays of the net.
FUNCTIONS: dict[str, str] = {
    "dense": """
static inline void @dense(const float *@R x, float *@R y, int n, int m, const float *@R w, const float *@R b)
{
    int i, j;
    for (j = 0; j < m; j++) y[j] = b[j];
    for (i = 0; i < n; i++) {
        const float v = x[i];
        for (j = 0; j < m; j++) y[j] += v * w[(long)i * m + j];
    }
}
""",
    "dense_int8": """
static inline void @dense_int8(const float *@R x, float *@R y, int n, int m, signed char *@R q, float per_step,
                               float zero, const signed char *@R w, const float *@R scale, const float *@R b)
{
    int i, j;
    for (i = 0; i < n; i++) {
        const float r = x[i] * per_step + zero;
        q[i] = (signed char)(!(r > -128.0f) ? -128 : r > 127.0f ? 127 : (int)floorf(r + 0.5f));
    }
    for (j = 0; j < m; j++) {
        const signed char *row = w + (long)j * n;
        int32_t sum = 0;
        for (i = 0; i < n; i++) sum += (int32_t)q[i] * row[i];
        y[j] = (float)sum * scale[j] + b[j];
    }
}
""",
    "prelu": """
static inline void @prelu(const float *x, float *y, int n, const float *a)
{
    int i;
    for (i = 0; i < n; i++) y[i] = x[i] > 0.0f ? x[i] : a[i] * x[i];
}
""",
    "softmax": """
static inline void @softmax(const float *x, float *y, int n)
{
    int i;
    float most = x[0], sum = 0.0f;
    for (i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    for (i = 0; i < n; i++) sum += y[i] = expf(x[i] - most);
    for (i = 0; i < n; i++) y[i] /= sum;
}
""",
    "layer_norm": """
static inline void @layer_norm(const float *x, float *y, int n, float epsilon, const float *gamma, const float *beta)
{
    int i;
    float mean = 0.0f, square = 0.0f;
    for (i = 0; i < n; i++) mean += x[i] / (float)n;
    for (i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (float)n;
    square = sqrtf(square + epsilon);
    for (i = 0; i < n; i++) y[i] = (x[i] - mean) / square * gamma[i] + beta[i];
}
""",
    "unit_norm": """
static inline void @unit_norm(const float *x, float *y, int n)
{
    int i;
    float square = 0.0f;
    for (i = 0; i < n; i++) square += x[i] * x[i];
    square = sqrtf(square);
    square = square > 1e-12f ? square : 1e-12f;
    for (i = 0; i < n; i++) y[i] = x[i] / square;
}
""",
    "normalization": """
static inline void @normalization(const float *x, float *y, int n, const float *mean, const float *deviation)
{
    int i;
    for (i = 0; i < n; i++) y[i] = (x[i] - mean[i]) / deviation[i];
}
""",
    "rescaling": """
static inline void @rescaling(const float *x, float *y, int n, const float *scale, const float *offset)
{
    int i;
    for (i = 0; i < n; i++) y[i] = x[i] * scale[i] + offset[i];
}
""",
    "select": """
static inline void @select(const float *x, float *y, int m, const int *columns)
{
    int j;
    for (j = 0; j < m; j++) y[j] = x[columns[j]];
}
""",
    "piecewise_linear": """
static inline void @piecewise_linear(const float *x, float *y, int n, int bins, const float *edges)
{
    int i, k;
    for (i = 0; i < n; i++)
        for (k = 0; k < bins; k++) {
            const float low = edges[i * (bins + 1) + k], high = edges[i * (bins + 1) + k + 1];
            float r = high > low ? (x[i] - low) / (high - low) : 0.0f;
            if (k > 0 && r < 0.0f) r = 0.0f;
            if (k < bins - 1 && r > 1.0f) r = 1.0f;
            y[i * bins + k] = r;
        }
}
""",
    "cosines": """
static inline void @cosines(const float *x, float *y, int n, int count, const float *frequencies, const float *phases)
{
    int i, k;
    for (i = 0; i < n; i++)
        for (k = 0; k < count; k++)
            y[i * count + k] = cosf(6.28318531f * (x[i] * frequencies[i * count + k] + phases[i * count + k]));
}
""",
    "grouped_dense": """
static inline void @grouped_dense(const float *x, float *y, int groups, int n, int m, const float *w, const float *b)
{
    int g;
    for (g = 0; g < groups; g++) @dense(x + g * n, y + g * m, n, m, w + (long)g * n * m, b + g * m);
}
""",
    "embedding": """
static inline void @embedding(const float *x, float *y, int size, int count, const float *codes, const float *table)
{
    int i, k;
    for (k = 0; k < count && codes[k] != x[0]; k++) {}
    for (i = 0; i < size; i++) y[i] = table[(long)k * size + i];
}
""",
    "log1p": """
static inline void @log1p(const float *x, float *y, int n, const float *scale, const float *offset)
{
    int i;
    for (i = 0; i < n; i++) y[i] = copysignf(log1pf(fabsf(x[i] - offset[i]) / scale[i]), x[i] - offset[i]);
}
""",
    "one_hot": """
static inline void @one_hot(const float *x, float *y, int m, const int *columns, const float *codes)
{
    int j;
    for (j = 0; j < m; j++) y[j] = x[columns[j]] == codes[j] ? 1.0f : 0.0f;
}
""",
    "waves": """
static inline void @waves(const float *x, float *y, int count, const int *columns, const float *frequencies)
{
    int k;
    for (k = 0; k < count; k++) {
        const float periods = x[columns[k]] * frequencies[k], angle = 6.28318531f * (periods - rintf(periods));
        y[2 * k] = sinf(angle);
        y[2 * k + 1] = cosf(angle);
    }
}
""",
    "robust_scale": """
static inline void @robust_scale(const float *x, float *y, int n, float clip, const float *center, const float *scale)
{
    int i;
    for (i = 0; i < n; i++) {
        const float away = scale[i] > 0.0f ? (x[i] - center[i]) / scale[i] : 0.0f;
        y[i] = clip > 0.0f ? away / sqrtf(1.0f + (away / clip) * (away / clip)) : away;
    }
}
""",
    "fill": """
static inline void @fill(const float *x, float *y, int n, const float *fill)
{
    int i;
    for (i = 0; i < n; i++) y[i] = x[i] != x[i] ? fill[i] : x[i];
}
""",
    "is_nan": """
static inline void @is_nan(const float *x, float *y, int n)
{
    int i;
    for (i = 0; i < n; i++) y[i] = x[i] != x[i] ? 1.0f : 0.0f;
}
""",
    "copy": """
static inline void @copy(const float *x, float *y, int n)
{
    int i;
    for (i = 0; i < n; i++) y[i] = x[i];
}
""",
}
MERGES: dict[str, str] = {
    "add": "y[i] + x[i]",
    "average": "y[i] + x[i]",
    "subtract": "y[i] - x[i]",
    "multiply": "y[i] * x[i]",
    "maximum": "x[i] > y[i] ? x[i] : y[i]",
    "minimum": "x[i] < y[i] ? x[i] : y[i]",
}


def activation_function(name: str) -> str:
    """One that applies an activation to a number, and one that applies it to a row."""
    return f"""
static inline float @{name}(float x, float a)
{{
    (void)a;
    return {ACTIVATIONS[name]};
}}
static inline void @each_{name}(const float *x, float *y, int n, float a)
{{
    int i;
    for (i = 0; i < n; i++) y[i] = @{name}(x[i], a);
}}
"""


def merge_function(name: str) -> str:
    """One that takes a row into another."""
    return f"""
static inline void @{name}(const float *x, float *y, int n)
{{
    int i;
    for (i = 0; i < n; i++) y[i] = {MERGES[name]};
}}
"""


HEAD = """/* {title}: a net of fastdense {version}, {inputs} inputs, {outputs} outputs, {dtype}.
 *
 *     float x[{NAME}_INPUTS], y[{NAME}_OUTPUTS];
 *     {name}_predict(x, y);
 *
 * C99, no memory allocation, no library but libm; it may be called from several threads. Numbers of the net take
 * {weights} bytes of constants, a call {scratch} bytes of stack. Written by Model.to_c; do not edit.
 */
#ifndef {NAME}_H
#define {NAME}_H

#include <math.h>
#include <stdint.h>

#define {NAME}_INPUTS {inputs}
#define {NAME}_OUTPUTS {outputs}
#ifdef __cplusplus
#define {NAME}_RESTRICT
#else
#define {NAME}_RESTRICT restrict
#endif
"""
