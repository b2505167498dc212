/* The functions of a layer whose functions are shared, in single precision: values and gradients.

   Compiled for one DEGREE and one COUNT of bases an input. layers/shared_function.py holds the same in torch's own
   operations, and the tests hold the two together. The products with the weights are torch's.

   On every interval of the grid a function is a polynomial in the fraction of the interval that x has passed. Its
   coefficients are tabulated for each input and group, from those of the bases; a value then takes DEGREE + 1 numbers
   from tables that stand in registers. The knots of an input must be evenly spaced, which `even` tells.

   Letters: B rows of a batch, I inputs, g groups, n = COUNT bases an input. Values of functions and their gradients are
   (g, I, B): the rows of an input stand side by side, in vectors. A thread keeps to its inputs: what it adds up over
   the rows does not depend on the number of threads. */

#include "common.h"

enum {
    FEATURES = COUNT + 1,                        /* of an input: its bases and its base function */
    WIDTH = FEATURES < 12 ? FEATURES : 12,       /* features that are summed together */
    PADDED = (FEATURES + WIDTH - 1) / WIDTH * WIDTH,
    CHUNK = 256,                                 /* rows that are worked on together */
    STRIP = 16,                                  /* rows whose outputs are written together */
    GROUPS = 8,                                  /* groups that are worked on together */
    FEW = 4096                                   /* fewer values than these are not worth a second thread */
};

enum { SILU, RELU, IDENTITY }; /* base functions, numbered as in layers/shared_function.py */

/* `size` columns of a matrix, SIDE at the most, as lines of `rows` numbers, with zeros to the end of a vector. */
static void turn(const float *from, long rows, long size, long stride, float to[SIDE][CHUNK])
{
    for (long b = 0; b < (rows + LANES - 1) / LANES * LANES; b += SIDE) {
        octet square[SIDE] = {{0}};
        if (size == SIDE && rows - b >= SIDE)
#pragma GCC unroll 8
            for (long t = 0; t < SIDE; t++)
                square[t] = *(const octet *)(from + (b + t) * stride);
        else
            for (long t = 0; t < least(SIDE, rows - b); t++)
                memcpy(&square[t], from + (b + t) * stride, size * sizeof(float));
        transpose(square);
#pragma GCC unroll 8
        for (long t = 0; t < SIDE; t++)
            *(octet *)(to[t] + b) = square[t];
    }
}

/* The way back: `size` lines, each `apart` numbers after the one before, become columns, and `shift` is added. */
static void turn_back(const float *from, long apart, long rows, long size, octet shift, long stride, float *to)
{
    for (long b = 0; b < rows; b += SIDE, to += SIDE * stride) {
        octet square[SIDE] = {{0}};
        long part = least(SIDE, rows - b);
        if (size == SIDE && part == SIDE) {
            for (long t = 0; t < SIDE; t++)
                square[t] = *(const octet *)(from + t * apart + b);
            transpose(square);
            for (long t = 0; t < SIDE; t++)
                *(octet *)(to + t * stride) = square[t] + shift;
        } else {
            for (long t = 0; t < size; t++)
                memcpy(&square[t], from + t * apart + b, part * sizeof(float));
            transpose(square);
            for (long t = 0; t < part; t++) {
                square[t] += shift;
                memcpy(to + t * stride, &square[t], size * sizeof(float));
            }
        }
    }
}

/* The knots of an input: `inverse` is one over the step between them. */
typedef struct {
    float first, inverse;
    ALIGNED float knots[SLOTS + LANES];
} place;

INLINE void place_of(const float *grid, place *at)
{
    at->first = grid[0];
    at->inverse = INTERVALS / (grid[INTERVALS] - grid[0]);
    memcpy(at->knots, grid, (INTERVALS + 1) * sizeof(float));
}

/* Whether every input has evenly spaced knots, to rounding. */
int even(long inputs, const float *grid)
{
    for (long i = 0; i < inputs; i++, grid += INTERVALS + 1) {
        if (i && !memcmp(grid, grid - INTERVALS - 1, (INTERVALS + 1) * sizeof(float)))
            continue; /* as those before */
        float span = grid[INTERVALS] - grid[0], step = span / INTERVALS, worst = 0;
        for (int m = 0; m <= INTERVALS; m++) {
            float off = __builtin_fabsf(grid[m] - (grid[0] + m * step));
            worst = off > worst ? off : worst;
        }
        if (!(span > 0 && span < 1e30f && worst <= 1e-6f * span))
            return 0;
    }
    return 1;
}

/* The interval that holds each x, INTERVALS where none does, and the fraction of it that x has passed, which of what is
   not a number is none. Intervals are closed on the left, and that which ends the grid on both sides: for degrees of 2
   and more it makes no difference. */
INLINE ints locate(vector x, const place *at, vector *fraction)
{
    vector u = (x - at->first) * at->inverse;
    ints inside = (u >= 0) & (u < INTERVALS), whole;
    if (DEGREE < 2) { /* where a knot is, and not where it should be, decides on which side x is */
        ints ends = x == at->knots[COUNT];
        inside = ((x >= at->knots[0]) & (x < at->knots[INTERVALS])) | ends;
        whole = __builtin_convertvector((vector)((ints)u & inside), ints);
        whole += x < pick(at->knots, whole);
        whole -= x >= pick(at->knots + 1, whole);
        whole = choose(ends, COUNT - 1 - (ints){0}, whole) & inside;
    } else
        whole = __builtin_convertvector((vector)((ints)u & inside), ints);
    u = (x - pick(at->knots, whole)) * at->inverse; /* the distance to the first knot is rounded more */
    *fraction = (vector)(((ints)u & inside) | (x != x));
    return choose(inside, whole, INTERVALS - (ints){0});
}

/* The base function and its slope. */
INLINE vector base_of(vector x, const int base, vector *slope)
{
    if (base == SILU) {
        vector s = sigmoid(x);
        *slope = s * (1 + x * (1 - s));
        return x * s;
    }
    if (base == RELU) {
        *slope = (vector)((ints)all(1) & ~(x <= 0));
        return (vector)((ints)x & ~(x <= 0));
    }
    *slope = all(1);
    return x;
}

/* The coefficients of the polynomials that the bases of an interval are: powers[p][k] is that of u^p in the k-th. */
static void expand(float powers[LOCAL][LOCAL])
{
    double bases[LOCAL][LOCAL] = {{1}};
    for (int k = 1; k <= DEGREE; k++) { /* Cox-de Boor, on polynomials */
        double carry[LOCAL] = {0};
        for (int r = 0; r < k; r++) {
            double share, before = 0;
            for (int p = 0; p < LOCAL; p++, before = share) {
                share = bases[r][p] / k;
                bases[r][p] = carry[p] + (r + 1) * share - before;
                carry[p] = before + (k - 1 - r) * share;
            }
        }
        memcpy(bases[k], carry, sizeof carry);
    }
    for (int p = 0; p < LOCAL; p++)
        for (int k = 0; k < LOCAL; k++)
            powers[p][k] = bases[k][p];
}

/* The polynomials of a function with the coefficients c on all intervals, from the `lowest` power on. */
INLINE void tabulate(const float *c, float powers[LOCAL][LOCAL], const int lowest, float (*to)[SLOTS])
{
    ALIGNED float padded[SLOTS + 2 * LANES] = {0};
    memcpy(padded + DEGREE, c, COUNT * sizeof(float));
    for (int m = 0; m < SLOTS; m += LANES)
#pragma GCC unroll 6
        for (int p = lowest; p < LOCAL; p++) {
            vector sum = {0};
#pragma GCC unroll 6
            for (int k = 0; k < LOCAL; k++)
                sum += powers[p][k] * load(padded + m + k);
            store(to[p] + m, sum);
        }
}

/* The functions of one input in `rows` rows. */
INLINE void values_of(const float *x, const place *at, const int base, long rows, long groups, const float *a, long apart,
                      float (*tables)[LOCAL][SLOTS], float *f, long stride)
{
    for (long b = 0; b < rows; b += LANES) {
        vector u, slope, input = load(x + b), basic = base_of(input, base, &slope);
        ints index = locate(input, at, &u);
        for (long s = 0; s < groups; s++) {
            vector value = pick(tables[s][DEGREE], index);
#pragma GCC unroll 6
            for (int p = DEGREE - 1; p >= 0; p--)
                value = value * u + pick(tables[s][p], index);
            store_some(f + s * stride + b, value + a[s * apart] * basic, rows - b);
        }
    }
}

/* x (B, I), grid (I, n + DEGREE + 1), a (g, I), c (g, I, n) -> f (g, I, B) */
INLINE void all_values(const int base, long rows, long inputs, long groups, int threads, const float *x,
                       const float *grid, const float *a, const float *c, float *f)
{
    float powers[LOCAL][LOCAL];
    expand(powers);
    (void)threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * inputs * groups > FEW)
    for (long panel = 0; panel < inputs; panel += SIDE)
        for (long b = 0; b < rows; b += CHUNK) {
            ALIGNED float lines[SIDE][CHUNK], tables[GROUPS][LOCAL][SLOTS];
            long size = least(SIDE, inputs - panel), part = least(CHUNK, rows - b);
            turn(x + b * inputs + panel, part, size, inputs, lines);
            for (long t = 0; t < size; t++) {
                place at;
                long i = panel + t;
                place_of(grid + i * (INTERVALS + 1), &at);
                for (long s = 0; s < groups; s += GROUPS) {
                    long some = least(GROUPS, groups - s);
                    for (long r = 0; r < some; r++)
                        tabulate(c + ((s + r) * inputs + i) * COUNT, powers, 0, tables[r]);
                    values_of(lines[t], &at, base, part, some, a + s * inputs + i, inputs, tables,
                              f + (s * inputs + i) * rows + b, inputs * rows);
                }
            }
        }
}

/* What the gradients of an input need in `rows` rows. */
typedef struct {
    ALIGNED float features[PADDED][CHUNK], slopes[CHUNK], fractions[CHUNK];
    ALIGNED int indices[CHUNK];
} notes;

/* The bases that are not zero a fraction u into an interval. */
INLINE void local_bases(vector u, float powers[LOCAL][LOCAL], vector local[LOCAL])
{
#pragma GCC unroll 6
    for (int k = 0; k < LOCAL; k++) {
        local[k] = all(powers[DEGREE][k]);
#pragma GCC unroll 6
        for (int p = DEGREE - 1; p >= 0; p--)
            local[k] = local[k] * u + powers[p][k];
    }
}

/* The slope of a function's spline in its intervals, per fraction of an interval. */
INLINE vector rise_of(vector u, ints index, float (*table)[SLOTS])
{
    vector rise = {0};
    if (DEGREE)
        rise = DEGREE * pick(table[DEGREE], index);
#pragma GCC unroll 6
    for (int p = DEGREE - 1; p > 0; p--)
        rise = rise * u + (float)p * pick(table[p], index);
    return rise;
}

INLINE void note(const float *x, const place *at, const int base, long rows, float powers[LOCAL][LOCAL], notes *to)
{
    for (long b = 0; b < rows; b += LANES) {
        vector u, slope, input = load(x + b), basic = base_of(input, base, &slope), local[LOCAL], bases[COUNT];
        ints index = locate(input, at, &u), none = (input != input) & (DEGREE ? -1 : 0);
        local_bases(u, powers, local);
#pragma GCC unroll 64
        for (int j = 0; j < COUNT; j++)
            bases[j] = (vector)none;
#pragma GCC unroll 64
        for (int m = 0; m < INTERVALS; m++) {
            ints here = index == m;
#pragma GCC unroll 6
            for (int k = 0; k < LOCAL; k++)
                if (m + k >= DEGREE && m + k < INTERVALS)
                    bases[m + k - DEGREE] = (vector)((ints)bases[m + k - DEGREE] | (here & (ints)local[k]));
        }
#pragma GCC unroll 64
        for (int j = 0; j < COUNT; j++)
            store(to->features[j] + b, bases[j]);
        store(to->features[COUNT] + b, basic);
        store(to->slopes + b, slope);
        store(to->fractions + b, u);
        *(ints *)(to->indices + b) = index;
    }
}

/* Adds the products of a gradient and the features, summed over `rows` rows, to the gradients of c and a. */
INLINE void add_sums(const notes *from, const float *grad, long rows, float *c_grad, float *a_grad)
{
    float sums[PADDED + SIDE];
    for (int j = 0; j < PADDED; j += WIDTH) {
        vector sum[WIDTH + SIDE] = {{0}};
        for (long b = 0; b < rows; b += LANES) {
            vector upstream = some(grad + b, rows - b);
#pragma GCC unroll 12
            for (int w = 0; w < WIDTH; w++)
                sum[w] += upstream * load(from->features[j + w] + b);
        }
        for (int w = 0; w < WIDTH; w += SIDE)
            *(octet *)(sums + j + w) = all_totals(sum + w);
    }
    for (int j = 0; j < COUNT; j++)
        c_grad[j] += sums[j];
    *a_grad += sums[COUNT];
}

/* Adds the products of the gradients and the slopes of the functions, over the groups. */
INLINE void add_slopes(const notes *from, const place *at, const float *grad, long stride, long rows, long groups,
                       const float *a, long apart, float (*tables)[LOCAL][SLOTS], float *x_grad)
{
    for (long b = 0; b < rows; b += LANES) {
        vector u = load(from->fractions + b), bases = {0}, rest = {0};
        ints index = *(const ints *)(from->indices + b);
        for (long s = 0; s < groups; s++) {
            vector upstream = some(grad + s * stride + b, rows - b);
            rest += upstream * rise_of(u, index, tables[s]);
            bases += upstream * a[s * apart];
        }
        store(x_grad + b, load(x_grad + b) + bases * load(from->slopes + b) + rest * at->inverse);
    }
}

/* The term is added where the index is m. */
INLINE vector add_where(vector sum, ints index, int m, vector term)
{
#if defined(__AVX512F__)
    __mmask16 here = _mm512_cmpeq_epi32_mask((__m512i)index, _mm512_set1_epi32(m));
    return (vector)_mm512_mask_add_ps((__m512)sum, here, (__m512)sum, (__m512)term);
#else
    return sum + (vector)((index == m) & (ints)term);
#endif
}

/* The gradients of an input's only function: what several would read from notes stays in registers. */
INLINE void add_alone(const float *x, const place *at, const int base, long rows, float powers[LOCAL][LOCAL],
                      const float *grad, float a, float (*table)[SLOTS], float *c_grad, float *a_grad, float *x_grad)
{
    float sums[PADDED + SIDE];
    vector sum[PADDED + SIDE] = {{0}}, spoiled = {0};
    for (long b = 0; b < rows; b += LANES) {
        vector u, slope, input = load(x + b), upstream = load(grad + b), local[LOCAL];
        sum[COUNT] += upstream * base_of(input, base, &slope);
        ints index = locate(input, at, &u);
        local_bases(u, powers, local);
        spoiled += upstream * (local[0] - local[0]); /* by what is not a number, in every sum */
#pragma GCC unroll 6
        for (int k = 0; k < LOCAL; k++)
            local[k] *= upstream;
#pragma GCC unroll 64
        for (int m = 0; m < INTERVALS; m++)
#pragma GCC unroll 6
            for (int k = 0; k < LOCAL; k++)
                if (m + k >= DEGREE && m + k < INTERVALS)
                    sum[m + k - DEGREE] = add_where(sum[m + k - DEGREE], index, m, local[k]);
        store(x_grad + b, load(x_grad + b) + upstream * (a * slope + rise_of(u, index, table) * at->inverse));
    }
    for (int j = 0; j < COUNT; j++)
        sum[j] += spoiled;
    for (int j = 0; j < PADDED; j += SIDE)
        *(octet *)(sums + j) = all_totals(sum + j);
    for (int j = 0; j < COUNT; j++)
        c_grad[j] += sums[j];
    *a_grad += sums[COUNT];
}

/* f_grad and what all_values takes -> x_grad (B, I) if it is not null, a_grad (g, I), c_grad (g, I, n); to what x_grad
   holds it is added where `adds` is set. f_grad is (g, I, B), but (B, I) where g = 1 */
INLINE void all_gradients(const int base, long rows, long inputs, long groups, int threads, int adds, const float *x,
                          const float *grid, const float *a, const float *c, const float *f_grad, float *x_grad,
                          float *a_grad, float *c_grad)
{
    float powers[LOCAL][LOCAL];
    expand(powers);
    (void)threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * inputs * groups > FEW)
    for (long panel = 0; panel < inputs; panel += SIDE) {
        long size = least(SIDE, inputs - panel);
        for (long s = 0; s < groups; s++) {
            memset(a_grad + s * inputs + panel, 0, size * sizeof(float));
            memset(c_grad + (s * inputs + panel) * COUNT, 0, size * COUNT * sizeof(float));
        }
        for (long b = 0; b < rows; b += CHUNK) {
            ALIGNED float lines[SIDE][CHUNK], grads[SIDE][CHUNK], sums[SIDE][CHUNK], tables[GROUPS][LOCAL][SLOTS];
            notes found;
            long part = least(CHUNK, rows - b);
            turn(x + b * inputs + panel, part, size, inputs, lines);
            if (groups == 1)
                turn(f_grad + b * inputs + panel, part, size, inputs, grads);
            if (x_grad && adds)
                turn(x_grad + b * inputs + panel, part, size, inputs, sums);
            else
                for (long t = 0; t < size; t++)
                    memset(sums[t], 0, sizeof sums[t]);
            for (long t = 0; t < size; t++) {
                place at;
                long i = panel + t;
                place_of(grid + i * (INTERVALS + 1), &at);
                if (groups == 1) {
                    tabulate(c + i * COUNT, powers, 1, tables[0]);
                    add_alone(lines[t], &at, base, part, powers, grads[t], a[i], tables[0], c_grad + i * COUNT,
                              a_grad + i, sums[t]);
                    continue;
                }
                note(lines[t], &at, base, part, powers, &found);
                for (long s = 0; s < groups; s += GROUPS) {
                    long some = least(GROUPS, groups - s);
                    const float *grad = f_grad + (s * inputs + i) * rows + b;
                    for (long r = 0; r < some; r++) {
                        long at = (s + r) * inputs + i;
                        add_sums(&found, grad + r * inputs * rows, part, c_grad + at * COUNT, a_grad + at);
                        if (x_grad)
                            tabulate(c + at * COUNT, powers, 1, tables[r]);
                    }
                    if (x_grad)
                        add_slopes(&found, &at, grad, inputs * rows, part, some, a + s * inputs + i, inputs, tables,
                                   sums[t]);
                }
            }
            if (x_grad)
                turn_back(sums[0], CHUNK, part, size, (octet){0}, inputs, x_grad + b * inputs + panel);
        }
    }
}

/* lines (O, B), bias (O) or null -> y (B, O) */
void outputs(long rows, long outputs, int threads, const float *lines, const float *bias, float *y)
{
    (void)threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * outputs > FEW)
    for (long b = 0; b < rows; b += STRIP)
        for (long o = 0; o < outputs; o += SIDE) {
            long size = least(SIDE, outputs - o);
            octet shift = {0};
            if (bias)
                memcpy(&shift, bias + o, size * sizeof(float));
            turn_back(lines + o * rows + b, rows, least(STRIP, rows - b), size, shift, outputs, y + b * outputs + o);
        }
}

/* One function for each base function, so that the choice is not made in the inner loops. */
#define FOR_EACH_BASE(function, ...)                                                                                   \
    switch (base) {                                                                                                    \
    case SILU:                                                                                                         \
        function(SILU, __VA_ARGS__);                                                                                   \
        break;                                                                                                         \
    case RELU:                                                                                                         \
        function(RELU, __VA_ARGS__);                                                                                   \
        break;                                                                                                         \
    default:                                                                                                           \
        function(IDENTITY, __VA_ARGS__);                                                                               \
    }

void forward(int base, long rows, long inputs, long groups, int threads, const float *x, const float *grid,
             const float *a, const float *c, float *f)
{
    FOR_EACH_BASE(all_values, rows, inputs, groups, threads, x, grid, a, c, f)
}

void backward(int base, long rows, long inputs, long groups, int threads, int adds, const float *x,
              const float *grid, const float *a, const float *c, const float *f_grad, float *x_grad, float *a_grad, float *c_grad)
{
    FOR_EACH_BASE(all_gradients, rows, inputs, groups, threads, adds, x, grid, a, c, f_grad, x_grad, a_grad, c_grad)
}
