/* The inner loops of a KAN layer whose inputs share evenly spaced knots, in single precision.

   Compiled by kernels.py for one DEGREE and one COUNT of bases, so that the loops over them unroll.
   layers.py holds the same in torch's own operations, and the tests hold the two together.

   Letters: B rows of a batch, I inputs, O outputs, n = COUNT bases an input. A panel holds the
   features of LANES neighbouring inputs: the n bases of each, then SiLU of each. The features of a
   batch are (P, B, WIDTH), with P = ceil(I / LANES) panels; the weights are merged, panel by panel,
   into the same order while they are in the processor's cache, and never written to memory.

   No sum is ever split between threads: the results do not depend on how many there are. */

#include <math.h>
#include <string.h>

enum {
    LOCAL = DEGREE + 1,
    INTERVALS = COUNT + DEGREE,
    BLOCK = 64,   /* inputs that are looked at together */
    FEW = 4096,   /* less work than this is not worth a second thread */
    LANES = 8,    /* numbers in a vector */
    VECTORS = COUNT + 1,
    WIDTH = LANES * VECTORS,
    DEEP = 8,     /* panels whose products are summed in registers */
    TALL = 4,     /* a product keeps TALL x WIDE sums in registers, */
    WIDE = 3,     /* which is what a processor with 16 vector registers can hold */
    ROWS = 128,   /* rows whose gradients, and outputs whose weights, stay in cache together */
    OUTPUTS = 64,
    FEW_ROWS = 64, /* rows whose features, and outputs whose weights' gradients, do likewise */
    FEW_OUTPUTS = 32
};

#define ALIGNED __attribute__((aligned(64)))
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline long least(long a, long b) { return a < b ? a : b; }

static inline vector load(const float *from) { return *(const vector *)from; }

static inline void store(float *to, vector v) { *(vector *)to = v; }

/* Copies the numbers of a panel, of which there are LANES but in the last one. */
static inline void copy(float *to, const float *from, long size)
{
    if (size == LANES)
        store(to, load(from));
    else
        memcpy(to, from, size * sizeof(float));
}

/* Keeps a value in a register, where GCC would rather read it from memory at each use. */
#if defined(__x86_64__)
#define HOLD(v) __asm__("" : "+x"(v))
#else
#define HOLD(v) (void)0
#endif

#if defined(__clang__)
#define CHOOSE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int places __attribute__((vector_size(4 * LANES)));
#define CHOOSE(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

/* The sums of the numbers of each of four vectors, in the lower half of the result (and in the upper). */
static inline vector totals(vector a, vector b, vector c, vector d)
{
    vector ab = CHOOSE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + CHOOSE(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    vector cd = CHOOSE(c, d, 0, 8, 1, 9, 4, 12, 5, 13) + CHOOSE(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    vector sums = CHOOSE(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + CHOOSE(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    return sums + CHOOSE(sums, sums, 4, 5, 6, 7, 0, 1, 2, 3);
}

/* Writes sums to TALL rows of WIDTH numbers (WIDE vectors of each, or what is left of a row), or adds
   them to what stands there. */
static inline void put(vector sum[TALL][WIDE], int is_first, float *to, int left)
{
#pragma GCC unroll 4
    for (int t = 0; t < TALL; t++, to += WIDTH)
#pragma GCC unroll 3
        for (int w = 0; w < WIDE; w++)
            if (w < left) {
                if (!is_first)
                    sum[t][w] += load(to + w * LANES);
                store(to + w * LANES, sum[t][w]);
            }
}

/* The degree + 1 bases that can differ from zero at the fractions f of an interval (Cox-de Boor). */
static inline void local_bases(vector f, int degree, vector *bases)
{
    bases[0] = f - f + 1;
    for (int k = 1; k <= degree; k++) {
        vector carry = f - f;
        for (int r = 0; r < k; r++) {
            vector share = bases[r] * (1.0f / k);
            bases[r] = carry + ((float)(r + 1) - f) * share;
            carry = (f + (float)(k - 1 - r)) * share;
        }
        bases[k] = carry;
    }
}

/* The interval that holds each x, -1 where none does, and the fraction of it that x has
   passed. */
static inline void locate(const float *restrict x, float first, float inverse_step,
                          int *restrict interval, float *restrict fraction)
{
    for (int i = 0; i < BLOCK; i++) {
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

/* x (B, I) -> features (P, B, WIDTH). */
void features(const float *x, long rows, long columns, float first, float inverse_step,
              float *out)
{
#pragma omp parallel for if (rows * columns > FEW)
    for (long row = 0; row < rows; row++)
        for (long start = 0; start < columns; start += BLOCK) {
            ALIGNED float inputs[BLOCK] = {0}, fraction[BLOCK], silu[BLOCK];
            int interval[BLOCK];
            long size = least(columns - start, BLOCK);
            memcpy(inputs, x + row * columns + start, size * sizeof(float));
            locate(inputs, first, inverse_step, interval, fraction);
            for (int i = 0; i < BLOCK; i++)
                silu[i] = inputs[i] * sigmoid(inputs[i]);
            for (long i = 0; i < size; i += LANES) {
                float *to = out + ((start + i) / LANES * rows + row) * WIDTH, local[LOCAL][LANES];
                local_bases(load(fraction + i), DEGREE, (vector *)local);
                for (int v = 0; v < COUNT; v++)
                    store(to + v * LANES, (vector){0});
                store(to + COUNT * LANES, load(silu + i));
                for (long j = 0; j < least(LANES, size - i); j++, to += COUNT) {
                    int from = interval[i + j] - DEGREE;
                    if (from >= 0 && from < COUNT - DEGREE)
                        for (int r = 0; r < LOCAL; r++)
                            to[from + r] = local[r][j];
                    else if (from >= -DEGREE) /* in the margins some bases lie beyond the ends */
                        for (int r = 0; r < LOCAL; r++)
                            if (from + r >= 0 && from + r < COUNT)
                                to[from + r] = local[r][j];
                }
            }
        }
}

/* The gradient of a panel (rows, WIDTH) -> that of its inputs, of which there are `size`. x and x_grad
   point to the first of them in the first row. The slope of a base is the difference of two bases of
   one degree less, over the step. */
static void panel_backward(const float *x, const float *panel_grad, long rows, long columns, long size,
                           float first, float inverse_step, float *x_grad)
{
    for (long row = 0; row < rows; row += BLOCK / LANES) {
        ALIGNED float inputs[BLOCK] = {0}, fraction[BLOCK], sum[BLOCK];
        int interval[BLOCK];
        long height = least(BLOCK / LANES, rows - row);
        for (long b = 0; b < height; b++)
            copy(inputs + b * LANES, x + (row + b) * columns, size);
        locate(inputs, first, inverse_step, interval, fraction);
        for (int i = 0; i < BLOCK; i++) {
            float share = sigmoid(inputs[i]);
            sum[i] = share * (1 + inputs[i] * (1 - share));
        }
        for (long b = 0; b < height; b++) {
            vector lower[LOCAL + 1] = {0}; /* the bases of one degree less, between two zeros */
            float slope[LOCAL][LANES], *to = sum + b * LANES;
            const float *grad = panel_grad + (row + b) * WIDTH;
            if (DEGREE > 0)
                local_bases(load(fraction + b * LANES), DEGREE - 1, lower + 1);
            for (int r = 0; r < LOCAL; r++)
                store(slope[r], (lower[r] - lower[r + 1]) * inverse_step);
            store(to, load(to) * load(grad + COUNT * LANES));
            for (long i = 0; i < size; i++, grad += COUNT) {
                int from = interval[b * LANES + i] - DEGREE;
                if (from >= 0 && from < COUNT - DEGREE)
                    for (int r = 0; r < LOCAL; r++)
                        to[i] += grad[from + r] * slope[r][i];
                else if (from >= -DEGREE)
                    for (int r = 0; r < LOCAL; r++)
                        if (from + r >= 0 && from + r < COUNT)
                            to[i] += grad[from + r] * slope[r][i];
            }
            copy(x_grad + (row + b) * columns, to, size);
        }
    }
}

/* The weights of a panel for one output, in the order of its features: spline (size, n), scaler and
   base (size), where size is the number of inputs in the panel. */
static inline void merge_inputs(const float *spline, const float *scaler, const float *base, long size,
                                float *merged)
{
    for (long i = 0; i < size; i++, spline += COUNT, merged += COUNT) {
        int j = 0;
        for (; j + LANES <= COUNT; j += LANES)
            store(merged + j, load(spline + j) * scaler[i]);
        for (; j < COUNT; j++)
            merged[j] = spline[j] * scaler[i];
    }
    copy(merged + (LANES - size) * COUNT, base, size);
}

static inline void merge(const float *spline, const float *scaler, const float *base, long columns,
                         long output, long panel, float *merged)
{
    long size = least(LANES, columns - panel * LANES), at = output * columns + panel * LANES;
    if (size == LANES)
        merge_inputs(spline + at * COUNT, scaler + at, base + at, LANES, merged);
    else {
        memset(merged, 0, WIDTH * sizeof(float));
        merge_inputs(spline + at * COUNT, scaler + at, base + at, size, merged);
    }
}

/* The outputs y (B, O) of some rows [b0, b1) and outputs [o0, o1). Sums run in the order of the
   panels. At the edges the last row or output stands in for those that are not there. */
static void outputs_of(const float *features, const float *spline, const float *scaler,
                       const float *base, long rows, long columns, long outputs, long b0, long b1,
                       long o0, long o1, float *y)
{
    ALIGNED float merged[TALL][DEEP][WIDTH];
    long panels = (columns + LANES - 1) / LANES;
    for (long p = 0; p < panels; p += DEEP) {
        long deep = least(DEEP, panels - p);
        for (long o = o0; o < o1; o += TALL) {
            for (int t = 0; t < TALL; t++)
                for (long d = 0; d < deep; d++)
                    merge(spline, scaler, base, columns, least(o + t, o1 - 1), p + d, merged[t][d]);
            for (long b = b0; b < b1; b += WIDE) {
                vector sum[TALL][WIDE] = {0};
                for (long d = 0; d < deep; d++) {
                    const float *from[WIDE];
                    for (int w = 0; w < WIDE; w++)
                        from[w] = features + ((p + d) * rows + least(b + w, b1 - 1)) * WIDTH;
                    for (int v = 0; v < VECTORS; v++) {
                        vector f[WIDE];
#pragma GCC unroll 3
                        for (int w = 0; w < WIDE; w++) {
                            f[w] = load(from[w] + v * LANES);
                            HOLD(f[w]);
                        }
#pragma GCC unroll 4
                        for (int t = 0; t < TALL; t++) {
                            vector weight = load(merged[t][d] + v * LANES);
                            HOLD(weight);
#pragma GCC unroll 3
                            for (int w = 0; w < WIDE; w++)
                                sum[t][w] += weight * f[w];
                        }
                    }
                }
#pragma GCC unroll 3
                for (int w = 0; w < WIDE; w++) {
                    vector found = totals(sum[0][w], sum[1][w], sum[2][w], sum[3][w]);
                    float *to = y + (b + w) * outputs + o;
                    if (b + w < b1)
                        for (int t = 0; t < least(TALL, o1 - o); t++)
                            to[t] = p ? to[t] + found[t] : found[t];
                }
            }
        }
    }
}

/* features (P, B, WIDTH), spline (O, I, n), scaler (O, I), base (O, I) -> y (B, O). */
void forward(const float *features, const float *spline, const float *scaler, const float *base,
             long rows, long columns, long outputs, float *y)
{
    enum { CHUNK = 96 }; /* rows whose features, DEEP panels of them, stay in the second-level cache */
    long part = least(OUTPUTS, ((outputs + 1) / 2 + TALL - 1) / TALL * TALL);
#pragma omp parallel for collapse(2) schedule(dynamic) if (rows * columns * outputs > FEW)
    for (long b = 0; b < rows; b += CHUNK)
        for (long o = 0; o < outputs; o += part)
            outputs_of(features, spline, scaler, base, rows, columns, outputs, b,
                       least(b + CHUNK, rows), o, least(o + part, outputs), y);
}

/* grad (B, O) -> x_grad (B, I), of one panel and the rows from b0 on, ROWS at the most. */
static void inputs_backward(const float *x, const float *grad, const float *spline,
                            const float *scaler, const float *base, long rows, long columns,
                            long outputs, long panel, long b0, float first, float inverse_step,
                            float *x_grad)
{
    ALIGNED float panel_grad[ROWS][WIDTH], merged[OUTPUTS][WIDTH];
    long size = least(LANES, columns - panel * LANES), height = least(ROWS, rows - b0);
    long at = b0 * columns + panel * LANES;
    for (long o0 = 0; o0 < outputs; o0 += OUTPUTS) {
        long depth = least(OUTPUTS, outputs - o0);
        for (long o = 0; o < depth; o++)
            merge(spline, scaler, base, columns, o0 + o, panel, merged[o]);
        for (long b = 0; b < height; b += TALL)
            for (int v = 0; v < VECTORS; v += WIDE) {
                const float *from[TALL], *weight = merged[0] + v * LANES;
                vector sum[TALL][WIDE] = {0};
                for (int t = 0; t < TALL; t++)
                    from[t] = grad + (b0 + least(b + t, height - 1)) * outputs + o0;
                for (long o = 0; o < depth; o++, weight += WIDTH) {
                    vector part[WIDE];
#pragma GCC unroll 3
                    for (int w = 0; w < WIDE; w++) {
                        part[w] = load(weight + (v + w < VECTORS ? w : 0) * LANES);
                        HOLD(part[w]);
                    }
#pragma GCC unroll 4
                    for (int t = 0; t < TALL; t++)
#pragma GCC unroll 3
                        for (int w = 0; w < WIDE; w++)
                            sum[t][w] += from[t][o] * part[w];
                }
                put(sum, o0 == 0, panel_grad[b] + v * LANES, VECTORS - v);
            }
    }
    panel_backward(x + at, panel_grad[0], height, columns, size, first, inverse_step, x_grad + at);
}

/* The gradient of a panel's merged weights, for one output -> those of the three they were made of. */
static inline void split(const float *merged_grad, const float *spline, const float *scaler, long size,
                         float *spline_grad, float *scaler_grad, float *base_grad)
{
    vector products[LANES] = {0};
    copy(base_grad, merged_grad + COUNT * LANES, size);
    for (long i = 0; i < size; i++, merged_grad += COUNT, spline += COUNT, spline_grad += COUNT) {
        int j = 0;
        for (; j + LANES <= COUNT; j += LANES) {
            products[i] += load(merged_grad + j) * load(spline + j);
            store(spline_grad + j, load(merged_grad + j) * scaler[i]);
        }
        for (; j < COUNT; j++) {
            products[i][j % LANES] += merged_grad[j] * spline[j];
            spline_grad[j] = merged_grad[j] * scaler[i];
        }
    }
    for (int i = 0; i < LANES; i += 4) {
        vector found = totals(products[i], products[i + 1], products[i + 2], products[i + 3]);
        for (long t = 0; t < least(4, size - i); t++)
            scaler_grad[i + t] = found[t];
    }
}

/* grad (B, O), features of one panel (B, WIDTH) -> the part of the weights' gradients that belongs to
   this panel and the outputs from o0 on, FEW_OUTPUTS at the most. */
static void weights_backward(const float *features, const float *grad, const float *spline,
                             const float *scaler, long rows, long columns, long outputs, long panel,
                             long o0, float *spline_grad, float *scaler_grad, float *base_grad)
{
    ALIGNED float merged_grad[FEW_OUTPUTS][WIDTH];
    long o1 = least(o0 + FEW_OUTPUTS, outputs), size = least(LANES, columns - panel * LANES);
    for (long b0 = 0; b0 == 0 || b0 < rows; b0 += FEW_ROWS)
        for (long o = o0; o < o1; o += TALL)
            for (int v = 0; v < VECTORS; v += WIDE) {
                vector sum[TALL][WIDE] = {0};
                const float *from = features + b0 * WIDTH + v * LANES, *up = grad + b0 * outputs + o;
                const float *end = features + least(b0 + FEW_ROWS, rows) * WIDTH;
                for (; from < end; from += WIDTH, up += outputs) {
                    vector part[WIDE];
#pragma GCC unroll 3
                    for (int w = 0; w < WIDE; w++) {
                        part[w] = load(from + (v + w < VECTORS ? w : 0) * LANES);
                        HOLD(part[w]);
                    }
#pragma GCC unroll 4
                    for (int t = 0; t < TALL; t++)
#pragma GCC unroll 3
                        for (int w = 0; w < WIDE; w++)
                            sum[t][w] += up[least(t, o1 - 1 - o)] * part[w];
                }
                put(sum, b0 == 0, merged_grad[o - o0] + v * LANES, VECTORS - v);
            }
    for (long o = o0; o < o1; o++) {
        long at = o * columns + panel * LANES;
        const float *part = merged_grad[o - o0], *c = spline + at * COUNT, *s = scaler + at;
        if (size == LANES) /* a number that the compiler knows */
            split(part, c, s, LANES, spline_grad + at * COUNT, scaler_grad + at, base_grad + at);
        else
            split(part, c, s, size, spline_grad + at * COUNT, scaler_grad + at, base_grad + at);
    }
}

/* The gradient of the output (B, O) -> those of the input (not if x_grad is null) and the weights. */
void backward(const float *x, const float *features, const float *grad, const float *spline,
              const float *scaler, const float *base, long rows, long columns, long outputs, float first,
              float inverse_step, float *x_grad, float *spline_grad, float *scaler_grad, float *base_grad)
{
    long panels = (columns + LANES - 1) / LANES;
#pragma omp parallel if (rows * columns * outputs > FEW)
    {
        if (x_grad) {
#pragma omp for collapse(2) schedule(dynamic) nowait
            for (long panel = 0; panel < panels; panel++)
                for (long b = 0; b < rows; b += ROWS)
                    inputs_backward(x, grad, spline, scaler, base, rows, columns, outputs, panel, b,
                                    first, inverse_step, x_grad);
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (long panel = 0; panel < panels; panel++)
            for (long o = 0; o < outputs; o += FEW_OUTPUTS)
                weights_backward(features + panel * rows * WIDTH, grad, spline, scaler, rows, columns,
                                 outputs, panel, o, spline_grad, scaler_grad, base_grad);
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
