/* The inner loops of a KAN layer whose inputs share evenly spaced knots, in single precision.

   Compiled by kernels.py for one DEGREE and one COUNT of bases, so that the loops over them unroll.
   Each function does in one pass over memory what torch does in several; layers.py holds the same
   in torch's own operations, and the tests hold the two together.

   Letters: B rows of a batch, I inputs, O outputs, n = COUNT bases, R = I * (n + 1), the length of
   a row of features: n bases of every input, then SiLU of every input. */

#include <math.h>
#include <string.h>

enum { LOCAL = DEGREE + 1, INTERVALS = COUNT + DEGREE, BLOCK = 64, FEW = 4096 };

/* The degree + 1 bases that can differ from zero at the fraction f of an interval (Cox-de Boor). */
static inline void local_bases(float f, int degree, float *bases, long stride)
{
    bases[0] = 1;
    for (int k = 1; k <= degree; k++) {
        float carry = 0;
        for (int r = 0; r < k; r++) {
            float share = bases[r * stride] * (1.0f / k);
            bases[r * stride] = carry + (r + 1 - f) * share;
            carry = (f + (k - 1 - r)) * share;
        }
        bases[k * stride] = carry;
    }
}

/* The interval that holds each x, -1 where none does, and the fraction of it that x has passed. */
static inline void locate(const float *restrict x, long size, float first, float inverse_step,
                          int *restrict interval, float *restrict fraction)
{
    for (long i = 0; i < size; i++) {
        float u = (x[i] - first) * inverse_step;
        int inside = (u >= 0) & (u <= INTERVALS);
        float within = inside ? u : 0;
        int whole = (int)within;
        whole = whole < INTERVALS - 1 ? whole : INTERVALS - 1; /* the right end joins the last */
        fraction[i] = within - whole;
        interval[i] = inside ? whole : -1;
    }
}

/* 1 / (1 + exp(-x)), in operations that vectorise: exp(y) = 2^w exp(r), w whole, |r| <= ln(2) / 2. */
static inline float sigmoid(float x)
{
    float y = x > 87 ? -87 : x < -87 ? 87 : -x, w = rintf(y * 1.44269504f);
    float r = y - w * 0.693359375f + w * 2.12194440e-4f; /* ln 2, in two parts that lose nothing */
    float p = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720))))));
    int bits = ((int)w + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return 1 / (1 + p * power);
}

/* x (B, I) -> features (B, R). */
void features(const float *x, long rows, long columns, float first, float inverse_step,
              float *out)
{
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++)
        for (long start = 0; start < columns; start += BLOCK) {
            int interval[BLOCK];
            float fraction[BLOCK], local[LOCAL][BLOCK];
            long size = columns - start < BLOCK ? columns - start : BLOCK;
            locate(x + row * columns + start, size, first, inverse_step, interval, fraction);
            for (long i = 0; i < size; i++)
                local_bases(fraction[i], DEGREE, &local[0][i], BLOCK);
            const float *from_x = x + row * columns + start;
            float *silu = out + row * columns * (COUNT + 1) + columns * COUNT + start;
            for (long i = 0; i < size; i++)
                silu[i] = from_x[i] * sigmoid(from_x[i]);
            float *to = out + row * columns * (COUNT + 1) + start * COUNT;
            memset(to, 0, size * COUNT * sizeof(float));
            for (long i = 0; i < size; i++, to += COUNT) {
                int from = interval[i] - DEGREE;
                if (from >= 0 && from < COUNT - DEGREE)
                    for (int r = 0; r < LOCAL; r++)
                        to[from + r] = local[r][i];
                else if (interval[i] >= 0) /* in the margins some bases lie beyond the ends */
                    for (int r = 0; r < LOCAL; r++)
                        if (from + r >= 0 && from + r < COUNT)
                            to[from + r] = local[r][i];
            }
        }
}

/* The gradient of the features (B, R) -> that of x (B, I). The slope of a base is the difference of
   two bases of one degree less, over the step. */
void features_backward(const float *x, const float *feature_grad, long rows, long columns, float first,
                    float inverse_step, float *x_grad)
{
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++)
        for (long start = 0; start < columns; start += BLOCK) {
            int interval[BLOCK];
            float fraction[BLOCK], slope[LOCAL][BLOCK];
            long size = columns - start < BLOCK ? columns - start : BLOCK;
            locate(x + row * columns + start, size, first, inverse_step, interval, fraction);
            for (long i = 0; i < size; i++) {
                slope[0][i] = 0;
                if (DEGREE > 0) {
                    local_bases(fraction[i], DEGREE - 1, &slope[LOCAL > 1][i], BLOCK);
                    for (int r = 0; r < DEGREE; r++)
                        slope[r][i] = (slope[r][i] - slope[r + 1][i]) * inverse_step;
                    slope[DEGREE][i] *= inverse_step;
                }
            }
            const float *grad = feature_grad + row * columns * (COUNT + 1) + start * COUNT;
            const float *silu_grad = feature_grad + row * columns * (COUNT + 1) + columns * COUNT + start;
            const float *from_x = x + row * columns + start;
            float *to = x_grad + row * columns + start;
            for (long i = 0; i < size; i++) {
                float share = sigmoid(from_x[i]);
                to[i] = silu_grad[i] * share * (1 + from_x[i] * (1 - share));
            }
            for (long i = 0; i < size; i++, grad += COUNT) {
                int from = interval[i] - DEGREE;
                float sum = 0;
                if (from >= 0 && from < COUNT - DEGREE)
                    for (int r = 0; r < LOCAL; r++)
                        sum += grad[from + r] * slope[r][i];
                else if (interval[i] >= 0)
                    for (int r = 0; r < LOCAL; r++)
                        if (from + r >= 0 && from + r < COUNT)
                            sum += grad[from + r] * slope[r][i];
                to[i] += sum;
            }
        }
}

/* spline_weight (O, I, n), spline_scaler (O, I), base_weight (O, I) -> one weight (O, R). */
void merge(const float *restrict spline, const float *restrict scaler, const float *restrict base,
           long rows, long columns, float *restrict merged)
{
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++) {
        const float *c = spline + row * columns * COUNT, *s = scaler + row * columns;
        float *to = merged + row * columns * (COUNT + 1);
        for (long i = 0; i < columns; i++)
            for (int j = 0; j < COUNT; j++)
                to[i * COUNT + j] = c[i * COUNT + j] * s[i];
        memcpy(to + columns * COUNT, base + row * columns, columns * sizeof(float));
    }
}

/* The gradient of the merged weight (O, R) -> those of the three it was made of. */
void merge_backward(const float *restrict merged_grad, const float *restrict spline,
                    const float *restrict scaler, long rows, long columns,
                    float *restrict spline_grad, float *restrict scaler_grad,
                    float *restrict base_grad)
{
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++) {
        const float *grad = merged_grad + row * columns * (COUNT + 1);
        const float *c = spline + row * columns * COUNT, *s = scaler + row * columns;
        float *to = spline_grad + row * columns * COUNT, *to_s = scaler_grad + row * columns;
        for (long i = 0; i < columns; i++) {
            float sum = 0;
            for (int j = 0; j < COUNT; j++) {
                sum += grad[i * COUNT + j] * c[i * COUNT + j];
                to[i * COUNT + j] = grad[i * COUNT + j] * s[i];
            }
            to_s[i] = sum;
        }
        memcpy(base_grad + row * columns, grad + columns * COUNT, columns * sizeof(float));
    }
}

/* Every edge at 0 and at 1, where its features (n bases and SiLU) are at[0] and at[1]. value (O): the
   outputs at inputs that are all 0. rise (O, I): from 0 to 1. */
void ends(const float *restrict spline, const float *restrict scaler, const float *restrict base,
          const float *restrict at, long rows, long columns, float *restrict value,
          float *restrict rise)
{
    const float *at_one = at + COUNT + 1;
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++) {
        float sum = 0;
        for (long i = row * columns; i < (row + 1) * columns; i++) {
            float left = 0, right = 0;
            for (int j = 0; j < COUNT; j++) {
                left += spline[i * COUNT + j] * at[j];
                right += spline[i * COUNT + j] * at_one[j];
            }
            left = left * scaler[i] + base[i] * at[COUNT];
            right = right * scaler[i] + base[i] * at_one[COUNT];
            sum += left;
            rise[i] = right - left;
        }
        value[row] = sum;
    }
}

/* value_grad (O), rise_grad (O, I) -> the gradients of the three weights. The value at 1 of an edge
   receives rise_grad, its value at 0 what is in value_grad and not in rise_grad. */
void ends_backward(const float *restrict value_grad, const float *restrict rise_grad,
                   const float *restrict spline, const float *restrict scaler,
                   const float *restrict at, long rows, long columns, float *restrict spline_grad,
                   float *restrict scaler_grad, float *restrict base_grad)
{
    const float *at_one = at + COUNT + 1;
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++)
        for (long i = row * columns; i < (row + 1) * columns; i++) {
            float right = rise_grad[i], left = value_grad[row] - right, sum = 0;
            for (int j = 0; j < COUNT; j++) {
                float grad = left * at[j] + right * at_one[j];
                sum += grad * spline[i * COUNT + j];
                spline_grad[i * COUNT + j] = grad * scaler[i];
            }
            scaler_grad[i] = sum;
            base_grad[i] = left * at[COUNT] + right * at_one[COUNT];
        }
}
