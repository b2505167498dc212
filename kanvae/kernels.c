/* The inner loops of a KAN layer whose inputs share evenly spaced knots, in single precision.

   Compiled by kernels.py for one DEGREE and one COUNT of bases, so that the loops over them unroll.
   layers.py holds the same in torch's own operations, and the tests hold the two together.

   Letters: B rows of a batch, I inputs, O outputs, n = COUNT bases an input; the features of an input
   are its n bases and its SiLU. The merged weights of an edge are what multiplies them: the n
   coefficients times the scale, and the base weight. Features and merged weights are made where they
   are used, in cache, and never written to memory.

   No sum is ever split between threads: the results do not depend on how many there are. */

#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#define THREADS omp_get_max_threads()
#else
#define THREADS 1
#endif

#define SIDE 8 /* numbers in an octet */
#if defined(__AVX512F__)
#define LANES 16 /* numbers in a vector, and inputs in a panel */
#define TALL 8   /* a product keeps TALL x WIDE vectors of sums in registers */
#else
#define LANES 8
#define TALL 4
#endif

enum {
    LOCAL = DEGREE + 1,
    INTERVALS = COUNT + DEGREE,
    FEATURES = COUNT + 1,
    WIDTH = LANES * FEATURES,      /* features of a panel */
    TABLE = FEATURES + 2 * DEGREE, /* rows of an input in a table of weights */
    MOST = FEATURES > 64 ? 1 : 8,  /* vectors of outputs that share a table, at the most */
    TABLE_ROWS = 256,              /* rows that share a table */
    WIDE = 3,
    DEEP = 8,                      /* panels that are worked on together where rows are few */
    CACHED = 73728 / WIDTH,        /* lines of a panel that stay in the second-level cache: features, */
    LINES = CACHED < 16 ? 16 : CACHED, /*   gradients or merged weights */
    FEW = 4096                     /* less work than this is not worth a second thread */
};

#define ALIGNED __attribute__((aligned(64)))
#define INLINE static inline __attribute__((always_inline))
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float octet __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));
typedef int ints __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));

static inline long least(long a, long b) { return a < b ? a : b; }

INLINE vector load(const float *from) { return *(const vector *)from; }

INLINE void store(float *to, vector v) { *(vector *)to = v; }

INLINE octet load8(const float *from) { return *(const octet *)from; }

INLINE void store8(float *to, octet v) { *(octet *)to = v; }

/* Keeps a value in a register, where GCC would rather read it from memory at each use. */
#if defined(__AVX__)
#define HOLD(v) __asm__("" : "+v"(v))
#else
#define HOLD(v) (void)0
#endif

#if defined(__clang__)
#define CHOOSE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHOOSE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

/* Rows of a square become columns. */
INLINE void transpose(octet *m)
{
    octet s[SIDE], t[SIDE];
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i += 2) {
        s[i] = CHOOSE(m[i], m[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = CHOOSE(m[i], m[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int i = 0; i < SIDE; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            t[i + 2 * j] = CHOOSE(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            t[i + 2 * j + 1] = CHOOSE(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        m[i] = CHOOSE(t[i], t[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        m[i + 4] = CHOOSE(t[i], t[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* The sums of the numbers of each of eight octets. */
INLINE octet totals(octet *m)
{
    transpose(m);
    return ((m[0] + m[1]) + (m[2] + m[3])) + ((m[4] + m[5]) + (m[6] + m[7]));
}

/* Copies numbers, of which there are SIDE but at an edge. */
static inline void copy8(float *to, const float *from, long size)
{
    if (size == SIDE)
        store8(to, load8(from));
    else
        memcpy(to, from, size * sizeof(float));
}

/* The degree + 1 bases that can differ from zero at the fractions f of an interval (Cox-de Boor). */
static inline void local_bases(octet f, int degree, octet *bases)
{
    bases[0] = f - f + 1;
    for (int k = 1; k <= degree; k++) {
        octet carry = f - f;
        for (int r = 0; r < k; r++) {
            octet share = bases[r] * (1.0f / k);
            bases[r] = carry + ((float)(r + 1) - f) * share;
            carry = (f + (float)(k - 1 - r)) * share;
        }
        bases[k] = carry;
    }
}

/* a where the mask is set, b elsewhere. */
INLINE ints choose(ints mask, ints a, ints b) { return (mask & a) | (~mask & b); }

/* The interval that holds each x, -1 where none does, and the fraction of it that x has passed. */
INLINE ints locate(octet x, float first, float inverse_step, octet *fraction)
{
    octet u = (x - first) * inverse_step;
    ints inside = (u >= 0) & (u <= INTERVALS);
    octet within = (octet)((ints)u & inside);
    ints whole = __builtin_convertvector(within, ints);
    whole = choose(whole < INTERVALS, whole, whole - 1); /* the right end joins the last */
    *fraction = within - __builtin_convertvector(whole, octet);
    return whole | ~inside;
}

/* 1 / (1 + exp(-x)), where exp(y) = 2^w exp(r), w whole, |r| <= ln(2) / 2. */
INLINE octet sigmoid(octet x)
{
    const float round = 12582912; /* 1.5 * 2^23: what is added to it loses its fraction */
    octet low = {-87, -87, -87, -87, -87, -87, -87, -87}, y = -x;
    y = (octet)choose(y < low, (ints)low, choose(y > -low, (ints)-low, (ints)y));
    octet w = (y * 1.44269504f + round) - round;
    octet r = y - w * 0.693359375f + w * 2.12194440e-4f; /* ln 2, in two parts that lose nothing */
    octet p = 1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720));
    p = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * p)));
    ints bits = (__builtin_convertvector(w, ints) + 127) << 23;
    return 1 / (1 + p * (octet)bits);
}

/* Numbers of which there are SIDE but at an edge; zeros in place of the others. */
INLINE octet some(const float *from, long size)
{
    octet found = {0};
    if (size >= SIDE)
        return load8(from);
    if (size > 0)
        memcpy(&found, from, size * sizeof(float));
    return found;
}

/* Fetches into cache what will be read soon, and what will be written. */
INLINE void fetch(const float *from, long size)
{
    for (long i = 0; i < size; i += 16)
        __builtin_prefetch(from + i);
}

INLINE void fetch_to_write(const float *from, long size)
{
    for (long i = 0; i < size; i += 16)
        __builtin_prefetch(from + i, 1);
}

/* The merged weights of SIDE inputs from i0 on and of `size` outputs from o0 on, as a table in which the
   outputs of a feature lie side by side, `stride` numbers for each. Before and after the coefficients of an
   input there are DEGREE rows of zeros, for bases beyond the ends; what is not there is zero too. */
static void make_table(const float *spline, const float *scaler, const float *base, long columns, long i0,
                       long o0, long size, long stride, float *table)
{
    long depth = least(SIDE, columns - i0), whole = depth == SIDE && size >= SIDE && COUNT % SIDE == 0;
    spline += (o0 * columns + i0) * COUNT, scaler += o0 * columns + i0, base += o0 * columns + i0;
    if (!whole || size % LANES)
        memset(table, 0, SIDE * TABLE * stride * sizeof(float));
    for (long o = 0; whole && o < size; o += SIDE) {
        o = least(o, size - SIDE); /* the last square overlaps the one before */
        octet scale[SIDE], square[SIDE];
        for (int t = 0; t < SIDE; t++) {
            scale[t] = load8(scaler + (o + t) * columns);
            square[t] = load8(base + (o + t) * columns);
        }
        transpose(scale);
        transpose(square);
        for (int i = 0; i < SIDE; i++)
            store8(table + (i * TABLE + TABLE - 1) * stride + o, square[i]);
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < COUNT; j += SIDE) {
                float *to = table + (i * TABLE + DEGREE + j) * stride + o;
#pragma GCC unroll 8
                for (int t = 0; t < SIDE; t++)
                    square[t] = load8(spline + ((o + t) * columns + i) * COUNT + j);
                transpose(square);
#pragma GCC unroll 8
                for (int t = 0; t < SIDE; t++)
                    store8(to + t * stride, square[t] * scale[i]);
            }
    }
    for (long o = 0; !whole && o < size; o++)
        for (long i = 0; i < depth; i++) {
            long edge = o * columns + i;
            float *to = table + i * TABLE * stride + o;
            for (int j = 0; j < COUNT; j++)
                to[(DEGREE + j) * stride] = spline[edge * COUNT + j] * scaler[edge];
            to[(TABLE - 1) * stride] = base[edge];
        }
}

/* What a row of SIDE inputs brings to a table of weights: for each input the bases that can differ from
   zero, its SiLU, and which base is the first of them. */
typedef struct {
    float local[LOCAL + 1][SIDE];
    int from[SIDE];
} row_part;

INLINE void look(const float *x, long size, float first, float inverse_step, row_part *row)
{
    octet fraction, local[LOCAL], inputs = some(x, size);
    ints at = locate(inputs, first, inverse_step, &fraction);
    octet there = (octet)(at >= 0);
    local_bases(fraction, DEGREE, local);
    for (int k = 0; k < LOCAL; k++)
        store8(row->local[k], (octet)((ints)local[k] & (ints)there));
    store8(row->local[LOCAL], inputs * sigmoid(inputs));
    *(ints *)row->from = at & (at >= 0);
}

/* Adds to R rows of V vectors of outputs what SIDE inputs give to them. Of the bases of an input only the
   LOCAL that can differ from zero are multiplied. */
INLINE void add_rows(const row_part *rows, const float *table, const int V, const int R, float *total)
{
    vector sum[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            sum[r][v] = load(total + (r * V + v) * LANES);
    for (int i = 0; i < SIDE; i++, table += TABLE * V * LANES)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float *w = table + (long)rows[r].from[i] * V * LANES, *silu = table + (TABLE - 1) * V * LANES;
#pragma GCC unroll 8
            for (int k = 0; k <= LOCAL; k++)
#pragma GCC unroll 8
                for (int v = 0; v < V; v++)
                    sum[r][v] += rows[r].local[k][i] * load((k < LOCAL ? w + k * V * LANES : silu) + v * LANES);
        }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            store(total + (r * V + v) * LANES, sum[r][v]);
}

/* The same for any number of rows, some at a time, so that no sum waits for another. */
INLINE void add_all_rows(const row_part *rows, long count, const float *table, const int V, float *total)
{
    const int R = V < 2 ? 8 : V < 3 ? 4 : V < 6 ? 2 : 1;
    long b = 0;
    for (; b + R <= count; b += R)
        add_rows(rows + b, table, V, R, total + b * V * LANES);
    for (; b < count; b++)
        add_rows(rows + b, table, V, 1, total + b * V * LANES);
}

/* The outputs y (B, O) of `height` rows and the outputs [o0, o1). Sums run in the order of the inputs. */
static void outputs_of(const float *x, const float *spline, const float *scaler, const float *base, long height,
                       long columns, long outputs, float first, float inverse_step, long o0, long o1, float *y)
{
    ALIGNED float table[SIDE * TABLE * MOST * LANES], total[TABLE_ROWS * MOST * LANES];
    ALIGNED row_part rows[TABLE_ROWS];
    long V = (o1 - o0 + LANES - 1) / LANES, stride = V * LANES;
    memset(table, 0, SIDE * TABLE * stride * sizeof(float));
    memset(total, 0, height * stride * sizeof(float));
    for (long i = 0; i < columns; i += SIDE) {
        make_table(spline, scaler, base, columns, i, o0, o1 - o0, stride, table);
        for (long b = 0; b < height; b++) {
            look(x + b * columns + i, columns - i, first, inverse_step, rows + b);
            fetch(x + b * columns + i + SIDE, SIDE);
        }
        switch (V) { /* a number that the compiler knows */
        case 1: add_all_rows(rows, height, table, 1, total); break;
        case 2: add_all_rows(rows, height, table, 2, total); break;
        case 3: add_all_rows(rows, height, table, 3, total); break;
        case 4: add_all_rows(rows, height, table, 4, total); break;
        case 5: add_all_rows(rows, height, table, 5, total); break;
        case 6: add_all_rows(rows, height, table, 6, total); break;
        case 7: add_all_rows(rows, height, table, 7, total); break;
        default: add_all_rows(rows, height, table, 8, total);
        }
    }
    for (long b = 0; b < height; b++)
        memcpy(y + b * outputs + o0, total + b * stride, (o1 - o0) * sizeof(float));
}

/* x (B, I), spline (O, I, n), scaler (O, I), base (O, I) -> y (B, O). */
void forward(const float *x, const float *spline, const float *scaler, const float *base, long rows,
             long columns, long outputs, float first, float inverse_step, float *y)
{
    long vectors = (outputs + LANES - 1) / LANES, tables = (vectors + MOST - 1) / MOST;
    long part = (vectors + tables - 1) / tables * LANES;     /* outputs that share a table */
    long share = (rows * tables + THREADS - 1) / THREADS;    /* work for every thread, */
    long height = least(TABLE_ROWS, share < SIDE ? SIDE : share); /* but each table for some rows */
#pragma omp parallel for collapse(2) schedule(dynamic) if (rows * columns * outputs > FEW)
    for (long b = 0; b < rows; b += height)
        for (long o = 0; o < outputs; o += part)
            outputs_of(x + b * columns, spline, scaler, base, least(height, rows - b), columns, outputs, first,
                       inverse_step, o, least(o + part, outputs), y + b * outputs);
}

/* The features of one panel of x: (rows, WIDTH). */
static void features_of(const float *x, long rows, long columns, long panel, float first, float inverse_step,
                        float *out)
{
    for (long row = 0; row < rows; row++, x += columns, out += WIDTH) {
        fetch(x + 8 * columns + panel * LANES, LANES);
        for (long i = 0; i < LANES; i += SIDE) {
            ALIGNED float local[LOCAL][SIDE];
            ALIGNED int interval[SIDE];
            long at = panel * LANES + i;
            float *to = out + i * COUNT;
            octet fraction, inputs = some(x + at, columns - at);
            *(ints *)interval = locate(inputs, first, inverse_step, &fraction);
            local_bases(fraction, DEGREE, (octet *)local);
            store8(out + LANES * COUNT + i, inputs * sigmoid(inputs));
            for (int v = 0; v < COUNT; v++)
                store8(to + v * SIDE, (octet){0});
            for (int j = 0; j < SIDE; j++, to += COUNT) {
                int from = interval[j] - DEGREE;
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

/* The merged weights of a panel for one output, in the order of its features. */
static inline void merge(const float *spline, const float *scaler, const float *base, long columns,
                         long output, long panel, float *merged)
{
    long size = least(LANES, columns - panel * LANES), at = output * columns + panel * LANES;
    if (size < LANES)
        memset(merged, 0, WIDTH * sizeof(float));
    memcpy(merged + LANES * COUNT, base + at, size * sizeof(float));
    spline += at * COUNT, scaler += at;
    for (long i = 0; i < size; i++, spline += COUNT, merged += COUNT) {
        int j = 0;
        for (; j + SIDE <= COUNT; j += SIDE)
            store8(merged + j, load8(spline + j) * scaler[i]);
        for (; j < COUNT; j++)
            merged[j] = spline[j] * scaler[i];
    }
}

/* Writes sums to TALL rows of WIDTH numbers (WIDE vectors of each, or what is left of a row), or adds
   them to what stands there. */
INLINE void put(vector sum[TALL][WIDE], int is_first, float *to, int left)
{
#pragma GCC unroll 8
    for (int t = 0; t < TALL; t++, to += WIDTH)
#pragma GCC unroll 3
        for (int w = 0; w < WIDE; w++)
            if (w < left) {
                if (!is_first)
                    sum[t][w] += load(to + w * LANES);
                store(to + w * LANES, sum[t][w]);
            }
}

/* The gradients of the features of SIDE inputs, at `splines` and at `silus` -> those of the inputs, of
   which there are `size`. The slope of a base is the difference of two bases of one degree less, over the
   step. */
INLINE void slopes(const float *x, const float *splines, const float *silus, long size, float first,
                   float inverse_step, float *x_grad)
{
    ALIGNED float slope[LOCAL][SIDE], sum[SIDE];
    ALIGNED int interval[SIDE];
    octet fraction, inputs = some(x, size), share = sigmoid(inputs);
    *(ints *)interval = locate(inputs, first, inverse_step, &fraction);
    octet lower[LOCAL + 1] = {0}; /* the bases of one degree less, between two zeros */
    if (DEGREE > 0)
        local_bases(fraction, DEGREE - 1, lower + 1);
    for (int k = 0; k < LOCAL; k++)
        store8(slope[k], (lower[k] - lower[k + 1]) * inverse_step);
    store8(sum, load8(silus) * share * (1 + inputs * (1 - share)));
    for (int i = 0; i < SIDE; i++) {
        const float *grad = splines + i * COUNT;
        int from = interval[i] - DEGREE;
        if (from >= 0 && from < COUNT - DEGREE)
            for (int k = 0; k < LOCAL; k++)
                sum[i] += grad[from + k] * slope[k][i];
        else if (from >= -DEGREE)
            for (int k = 0; k < LOCAL; k++)
                if (from + k >= 0 && from + k < COUNT)
                    sum[i] += grad[from + k] * slope[k][i];
    }
    copy8(x_grad, sum, least(SIDE, size));
}

/* Rows with those that stand in for rows that are not there. */
static inline long rounded(long rows) { return (rows + TALL - 1) / TALL * TALL; }

/* grad (B, O) -> x_grad (B, I), of some panels and rows, the outputs block by block. The rounded rows of all
   panels are LINES together at the most, and so are the blocks. */
static void inputs_backward(const float *x, const float *grad, const float *spline, const float *scaler,
                            const float *base, long height, long columns, long outputs, long block,
                            long panel, long deep, float first, float inverse_step, float *x_grad)
{
    ALIGNED float panel_grad[LINES + TALL][WIDTH], merged[LINES][WIDTH];
    long lines = rounded(height);
    for (long o0 = 0; o0 < outputs; o0 += block) {
        long depth = least(block, outputs - o0);
        for (long o = 0; o < depth; o++)
            for (long d = 0; d < deep; d++)
                merge(spline, scaler, base, columns, o0 + o, panel + d, merged[d * block + o]);
        for (long d = 0; d < deep; d++)
            for (long b = 0; b < height; b += TALL) {
                const float *from[TALL];
                for (int t = 0; t < TALL; t++) { /* the last row stands in for those that are not there */
                    long row = least(b + t, height - 1), at = row * columns + (panel + d) * LANES;
                    from[t] = grad + row * outputs + o0;
                    fetch(x + at, LANES);
                    fetch_to_write(x_grad + at, LANES);
                }
                for (int v = 0; v < FEATURES; v += WIDE) {
                    const float *weight = merged[d * block] + v * LANES;
                    vector sum[TALL][WIDE] = {0};
                    for (long o = 0; o < depth; o++, weight += WIDTH) {
                        vector part[WIDE];
#pragma GCC unroll 3
                        for (int w = 0; w < WIDE; w++) {
                            part[w] = load(weight + (v + w < FEATURES ? w : 0) * LANES);
                            HOLD(part[w]);
                        }
#pragma GCC unroll 8
                        for (int t = 0; t < TALL; t++) {
                            vector g = from[t][o] - (vector){0};
                            HOLD(g);
#pragma GCC unroll 3
                            for (int w = 0; w < WIDE; w++)
                                sum[t][w] += g * part[w];
                        }
                    }
                    put(sum, o0 == 0, panel_grad[d * lines + b] + v * LANES, FEATURES - v);
                }
                for (long t = b; o0 + block >= outputs && t < least(b + TALL, height); t++)
                    for (long i = 0; i < LANES; i += SIDE) {
                        long column = (panel + d) * LANES + i, at = t * columns + column;
                        const float *from = panel_grad[d * lines + t];
                        if (column < columns)
                            slopes(x + at, from + i * COUNT, from + LANES * COUNT + i, columns - column,
                                   first, inverse_step, x_grad + at);
                    }
            }
    }
}

/* The gradient of a panel's merged weights, for one output -> those of the three they were made of. */
static inline void split(const float *merged_grad, const float *spline, const float *scaler, long size,
                         float *spline_grad, float *scaler_grad, float *base_grad)
{
    for (long i0 = 0; i0 < size; i0 += SIDE) {
        octet products[SIDE] = {0};
        long some = least(SIDE, size - i0);
        copy8(base_grad + i0, merged_grad + COUNT * LANES + i0, some);
        for (long i = 0; i < some; i++) {
            const float *from = merged_grad + (i0 + i) * COUNT, *c = spline + (i0 + i) * COUNT;
            float *to = spline_grad + (i0 + i) * COUNT;
            int j = 0;
            for (; j + SIDE <= COUNT; j += SIDE) {
                products[i] += load8(from + j) * load8(c + j);
                store8(to + j, load8(from + j) * scaler[i0 + i]);
            }
            for (; j < COUNT; j++) {
                products[i][j % SIDE] += from[j] * c[j];
                to[j] = from[j] * scaler[i0 + i];
            }
        }
        octet found = totals(products);
        copy8(scaler_grad + i0, (float *)&found, some);
    }
}

/* packed (parts, B, TALL) -> the gradients of the weights of some panels and of the outputs [o0, o1), which are
   LINES at the most. Where deep * B is more than LINES, deep is 1. */
static void weights_backward(const float *x, const float *packed, const float *spline, const float *scaler,
                             long rows, long columns, long panel, long deep, long o0, long o1, float first,
                             float inverse_step, float *spline_grad, float *scaler_grad, float *base_grad)
{
    ALIGNED float features[LINES][WIDTH], merged_grad[LINES + TALL][WIDTH];
    for (long b = 0; b == 0 || b < rows; b += LINES) {
        long height = least(LINES, rows - b), is_last = b + LINES >= rows;
        for (long d = 0; d < deep; d++)
            features_of(x + b * columns, height, columns, panel + d, first, inverse_step,
                        features[d * height]);
        for (long o = 0; o < o1 - o0; o += TALL)
            for (long d = 0; d < deep; d++) {
                long some = least(TALL, o1 - o0 - o), size = least(LANES, columns - (panel + d) * LANES);
                long start = (o0 + o) * columns + (panel + d) * LANES;
                for (int v = 0; v < FEATURES; v += WIDE) {
                    const float *from = features[d * height] + v * LANES, *end = from + height * WIDTH;
                    const float *up = packed + ((o0 + o) / TALL * rows + b) * TALL;
                    vector sum[TALL][WIDE] = {0};
                    for (long t = 0; t < some && is_last; t++) {
                        long at = (start + t * columns) * COUNT + v * LANES;
                        fetch(spline + at, WIDE * LANES);
                        fetch_to_write(spline_grad + at, WIDE * LANES);
                    }
                    for (; from < end; from += WIDTH, up += TALL) {
                        vector part[WIDE];
#pragma GCC unroll 3
                        for (int w = 0; w < WIDE; w++) {
                            part[w] = load(from + (v + w < FEATURES ? w : 0) * LANES);
                            HOLD(part[w]);
                        }
#pragma GCC unroll 8
                        for (int t = 0; t < TALL; t++) {
                            vector u = up[t] - (vector){0};
                            HOLD(u);
#pragma GCC unroll 3
                            for (int w = 0; w < WIDE; w++)
                                sum[t][w] += u * part[w];
                        }
                    }
                    put(sum, b == 0, merged_grad[o] + v * LANES, FEATURES - v);
                }
                for (long t = 0; t < some && is_last; t++) {
                    long at = start + t * columns;
                    const float *part = merged_grad[o + t], *c = spline + at * COUNT, *s = scaler + at;
                    float *to = spline_grad + at * COUNT;
                    if (size == LANES) /* a number that the compiler knows */
                        split(part, c, s, LANES, to, scaler_grad + at, base_grad + at);
                    else
                        split(part, c, s, size, to, scaler_grad + at, base_grad + at);
                }
            }
    }
}

/* grad (B, O) -> packed (parts, B, TALL): TALL outputs side by side, zeros for those that are not there. */
static void pack(const float *grad, long rows, long outputs, long part, float *packed)
{
    long size = least(TALL, outputs - part * TALL);
    for (long b = 0; b < rows; b++)
        for (long t = 0; t < TALL; t++)
            packed[(part * rows + b) * TALL + t] = t < size ? grad[b * outputs + part * TALL + t] : 0;
}

/* The gradient of the output (B, O) -> those of the input (not if x_grad is null) and the weights. packed is
   a place for B rows of O numbers, O rounded up to a multiple of 8. */
void backward(const float *x, const float *grad, const float *spline, const float *scaler, const float *base,
              long rows, long columns, long outputs, float first, float inverse_step, float *packed,
              float *x_grad, float *spline_grad, float *scaler_grad, float *base_grad)
{
    long panels = (columns + LANES - 1) / LANES, parts = (outputs + TALL - 1) / TALL;
    /* Where rows are few, several panels at a time, for they follow each other in memory; where panels are
       few, rows and outputs are divided too, so that there is work for every thread. Blocks, in the order of
       which sums are added, do not depend on the threads. */
    long most = least(DEEP, LINES / 2 / rounded(rows + !rows)), deep = least(most, panels / (2 * THREADS));
    long block = LINES / (most < 1 ? 1 : most);
    deep = deep < 1 ? 1 : deep;
    long height = least(LINES / deep, rows), part = LINES / TALL * TALL;
    if (panels < 4 * THREADS) {
        height = least(height, rounded((rows + THREADS - 1) / THREADS));
        part = least(part, 16 * TALL);
    }
    height = height < 1 ? 1 : height;
#pragma omp parallel if (rows * columns * outputs > FEW)
    {
#pragma omp for
        for (long o = 0; o < parts; o++)
            pack(grad, rows, outputs, o, packed);
        if (x_grad) {
#pragma omp for collapse(2) schedule(dynamic) nowait
            for (long panel = 0; panel < panels; panel += deep)
                for (long b = 0; b < rows; b += height)
                    inputs_backward(x + b * columns, grad + b * outputs, spline, scaler, base,
                                    least(height, rows - b), columns, outputs, block, panel,
                                    least(deep, panels - panel), first, inverse_step, x_grad + b * columns);
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (long panel = 0; panel < panels; panel += deep)
            for (long o = 0; o < outputs; o += part)
                weights_backward(x, packed, spline, scaler, rows, columns, panel,
                                 least(deep, panels - panel), o, least(o + part, outputs), first,
                                 inverse_step, spline_grad, scaler_grad, base_grad);
    }
}

/* Every edge at 0 and at 1, where its features (n bases and SiLU) are at[0] and at[1]. value (O): the
   outputs at inputs that are all 0. rise (O, I): from 0 to 1. */
void ends(const float *spline, const float *scaler, const float *base, const float *at, long outputs,
          long columns, float *value, float *rise)
{
#pragma omp parallel for if (outputs * columns > FEW)
    for (long o = 0; o < outputs; o++) {
        octet sum = {0};
        for (long i = 0; i < columns; i += SIDE) {
            long edge = o * columns + i, size = least(SIDE, columns - i);
            octet left[SIDE] = {0}, right[SIDE] = {0};
            octet scale = some(scaler + edge, size), b = some(base + edge, size);
            for (long t = 0; t < size; t++) {
                const float *c = spline + (edge + t) * COUNT;
                int j = 0;
                for (; j + SIDE <= COUNT; j += SIDE) {
                    left[t] += load8(c + j) * load8(at + j);
                    right[t] += load8(c + j) * load8(at + FEATURES + j);
                }
                for (; j < COUNT; j++) {
                    left[t][j % SIDE] += c[j] * at[j];
                    right[t][j % SIDE] += c[j] * at[FEATURES + j];
                }
            }
            octet at_zero = totals(left) * scale + b * at[COUNT];
            octet difference = totals(right) * scale + b * at[FEATURES + COUNT] - at_zero;
            sum += at_zero;
            copy8(rise + edge, (float *)&difference, size);
        }
        float total = 0;
        for (int t = 0; t < SIDE; t++)
            total += sum[t];
        value[o] = total;
    }
}

/* value_grad (O), rise_grad (O, I) -> the gradients of the three weights. The value at 1 of an edge
   receives rise_grad, its value at 0 what is in value_grad and not in rise_grad. */
void ends_backward(const float *value_grad, const float *rise_grad, const float *spline, const float *scaler,
                   const float *at, long outputs, long columns, float *spline_grad, float *scaler_grad,
                   float *base_grad)
{
#pragma omp parallel for if (outputs * columns > FEW)
    for (long o = 0; o < outputs; o++)
        for (long i = 0; i < columns; i += SIDE) {
            long edge = o * columns + i, size = least(SIDE, columns - i);
            octet right = some(rise_grad + edge, size), left = value_grad[o] - right, products[SIDE] = {0};
            octet found = left * at[COUNT] + right * at[FEATURES + COUNT];
            copy8(base_grad + edge, (float *)&found, size);
            for (long t = 0; t < size; t++) {
                const float *c = spline + (edge + t) * COUNT;
                float *to = spline_grad + (edge + t) * COUNT;
                int j = 0;
                for (; j + SIDE <= COUNT; j += SIDE) {
                    octet grad = load8(at + j) * left[t] + load8(at + FEATURES + j) * right[t];
                    products[t] += grad * load8(c + j);
                    store8(to + j, grad * scaler[edge + t]);
                }
                for (; j < COUNT; j++) {
                    float grad = at[j] * left[t] + at[FEATURES + j] * right[t];
                    products[t][j % SIDE] += grad * c[j];
                    to[j] = grad * scaler[edge + t];
                }
            }
            found = totals(products);
            copy8(scaler_grad + edge, (float *)&found, size);
        }
}
