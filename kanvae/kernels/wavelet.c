/* The sums of a layer of wavelets, in single precision: values and gradients.

   Compiled for one WAVELET. layers/wavelet.py holds the same in torch's own operations, and the tests hold the two
   together. Every edge has a wavelet of its own, which is computed where it is added and never written to memory.

   Letters: B rows of a batch, I inputs, O outputs. Inputs stand side by side in vectors. A sum over rows or inputs is
   taken by one thread, in an order that does not depend on their number. */

#include "common.h"

enum { MEXICAN_HAT, MORLET, DOG }; /* numbered as in layers/wavelet.py */
enum {
    OUTPUTS = 16, /* that are summed together, in SIDE rows */
    CHUNK = 256,  /* rows whose gradients are summed together */
    FEW = 2048    /* fewer edges than these are not worth a second thread */
};

/* The sine and cosine of v, |v| < 2^12: v = w pi + r, w whole, |r| <= pi / 2. */
INLINE vector cosine(vector v, vector *sine)
{
    const float round = 12582912;
    vector w = (v * 0.318309886f + round) - round;
    vector r = v - w * 3.140625f - w * 9.67502593994e-4f - w * 1.50995799097e-7f; /* pi, in three parts */
    ints sign = __builtin_convertvector(w, ints) << 31;
    vector s = r * r;
    vector odd = 1.0f / 362880 - s * (1.0f / 39916800 - s * (1.0f / 6227020800));
    odd = r * (1 - s * (1.0f / 6 - s * (1.0f / 120 - s * (1.0f / 5040 - s * odd))));
    vector even = 1.0f / 40320 - s * (1.0f / 3628800 - s * (1.0f / 479001600));
    even = 1 - s * (1.0f / 2 - s * (1.0f / 24 - s * (1.0f / 720 - s * even)));
    *sine = (vector)((ints)odd ^ sign);
    return (vector)((ints)even ^ sign);
}

/* A wavelet and its slope. */
INLINE vector wave(vector u, vector *slope)
{
    vector square = u * u, y = -0.5f * square, low = all(-87);
    ints far = y < low; /* a bell of nothing */
    vector bell = exponential((vector)choose(far, (ints)low, (ints)y));
    bell = (vector)(~far & (ints)bell);
    if (WAVELET == MEXICAN_HAT) {
        bell *= 0.867325071f; /* 2 / (sqrt(3) pi^(1/4)) */
        *slope = u * (3 - square) * bell;
        return (square - 1) * bell;
    }
    if (WAVELET == MORLET) {
        vector v = 5 * u, sine, wave = cosine((vector)choose(far, (ints)(0 * v), (ints)v), &sine);
        *slope = -(5 * sine * bell + u * bell * wave);
        return wave * bell;
    }
    *slope = u * (u * bell) - bell;
    return -u * bell;
}

/* Some outputs in some rows: x (rows, I), of the other matrices the lines from the first of these outputs on. */
INLINE void sum_rows(const long rows, long some_outputs, long inputs, long outputs, const float *x, const float *weight,
                     const float *translation, const float *inverse, float *y)
{
    vector sums[OUTPUTS][SIDE] = {{{0}}};
    for (long i = 0; i < inputs; i += LANES) {
        long size = least(LANES, inputs - i);
        vector points[SIDE], slope;
        for (long r = 0; r < rows; r++)
            points[r] = some(x + r * inputs + i, size);
        for (long o = 0; o < some_outputs; o++) {
            long at = o * inputs + i;
            vector w = some(weight + at, size), t = some(translation + at, size), s = some(inverse + at, size);
#pragma GCC unroll 8
            for (long r = 0; r < rows; r++)
                sums[o][r] += w * wave((points[r] - t) * s, &slope);
        }
    }
    for (long o = 0; o < some_outputs; o++) {
        octet found = all_totals(sums[o]);
        for (long r = 0; r < rows; r++)
            y[r * outputs + o] = found[r];
    }
}

/* x (B, I); weight, translation and inverse, one over the scale, (O, I) -> y (B, O) */
void forward(long rows, long inputs, long outputs, int threads, const float *x, const float *weight,
             const float *translation, const float *inverse, float *y)
{
    (void)threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * inputs * outputs > FEW)
    for (long o = 0; o < outputs; o += OUTPUTS) {
        const float *w = weight + o * inputs, *t = translation + o * inputs, *s = inverse + o * inputs;
        long size = least(OUTPUTS, outputs - o), b = 0;
        for (; b + SIDE <= rows; b += SIDE)
            sum_rows(SIDE, size, inputs, outputs, x + b * inputs, w, t, s, y + b * outputs + o);
        for (; b < rows; b++)
            sum_rows(1, size, inputs, outputs, x + b * inputs, w, t, s, y + b * outputs + o);
    }
}

/* A vector of inputs of one output: the gradients of its edges over `rows` rows, and its part of those of x. */
INLINE void edges(long rows, const vector *x, const float *grad, vector w, vector t, vector s, vector *x_grad,
                  vector found[3])
{
    vector values = {0}, slopes = {0}, stretches = {0};
    for (long r = 0; r < rows; r++) {
        vector u = (x[r] - t) * s, slope, value = wave(u, &slope);
        vector rise = grad[r] * slope;
        values += grad[r] * value;
        slopes += rise;
        stretches += rise * u;
        x_grad[r] += rise * (w * s);
    }
    found[0] = values;
    found[1] = slopes * (-w * s);
    found[2] = stretches * (-w * s);
}

/* What forward takes and grad (O, B) -> x_grad (B, I) and, (3, O, I), the gradients of weight, translation and scale */
void backward(long rows, long inputs, long outputs, int threads, const float *x, const float *weight,
              const float *translation, const float *inverse, const float *grad, float *x_grad, float *edge_grads)
{
    (void)threads;
    memset(edge_grads, 0, 3 * outputs * inputs * sizeof(float));
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * inputs * outputs > FEW)
    for (long i = 0; i < inputs; i += LANES) {
        long size = least(LANES, inputs - i);
        vector points[CHUNK], sums[CHUNK];
        for (long b = 0; b < rows; b += CHUNK) {
            long part = least(CHUNK, rows - b);
            for (long r = 0; r < part; r++) {
                points[r] = some(x + (b + r) * inputs + i, size);
                sums[r] = (vector){0};
            }
            for (long o = 0; o < outputs; o++) {
                long at = o * inputs + i;
                vector found[3];
                edges(part, points, grad + o * rows + b, some(weight + at, size), some(translation + at, size),
                      some(inverse + at, size), sums, found);
                for (int k = 0; k < 3; k++) {
                    float *to = edge_grads + k * outputs * inputs + at;
                    store_some(to, some(to, size) + found[k], size);
                }
            }
            for (long r = 0; r < part; r++)
                store_some(x_grad + (b + r) * inputs + i, sums[r], size);
        }
    }
}
