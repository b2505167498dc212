/* The inner loops of a KAN layer whose inputs share evenly spaced knots, in single precision.

   Compiled for one DEGREE and one COUNT of bases, so that the loops over them unroll; README.md tells how they work.
   layers/kan_function.py holds the same in torch's own operations, and the tests hold the two together.

   Letters: B rows of a batch, I inputs, O outputs, n = COUNT bases an input; the features of an input
   are its n bases and its SiLU. The merged weights of an edge are what multiplies them: the n
   coefficients times the scale, and the base weight. Features and merged weights are made where they
   are used, in cache, and never written to memory.

   Where a sum is cut depends on the shapes of layer and batch alone, not on the number of threads. Threads share out
   inputs and outputs in a fixed order: what one has read or written is near it when it comes back. */

#include "common.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

#if LANES > SIDE
#define TALL 8 /* a product keeps TALL x 2 or TALL x WIDE vectors of sums in registers */
#define WIDE 3
#else
#define TALL 6
#define WIDE 2
#endif

enum {
    FEATURES = COUNT + 1,
    BITS = LANES * (COUNT < 4 ? COUNT : 4),    /* inputs in a panel of ones that are 0 or 1 */
    WIDTH = LANES * FEATURES,                  /* features of a panel of LANES inputs, at the most */
    PADDED = (WIDTH + TALL - 1) / TALL * TALL, /*   and with those that fill up the last product */
    BLOCK = TALL % SIDE ? 3 * SIDE : SIDE,     /* outputs: a multiple of TALL and of SIDE */
    TILE = 2 * LANES,                          /* rows that stand side by side */
    CACHED = 73728 / WIDTH / TILE * TILE,      /* rows of a panel that stay in the second-level cache */
    LINES = CACHED < TILE ? TILE : CACHED,
    SHARE = 5 * TALL,                          /* outputs that are worked on together, at the most */
    MANY = 65536,                              /* edges beyond which it pays to read them in long pieces */
    /* Tables save products and cost turning the weights. With wide vectors that is more than they save where
       rows are at most: */
    FEW_ROWS = LANES < 16 || LINES < 2 * TILE ? 0 : 2 * TILE,
    TABLE = FEATURES + 2 * DEGREE,             /* lines of an input in a table of weights */
    MOST = FEATURES > 64 ? 1 : 8,              /* vectors of outputs that share a table, at the most */
    TABLE_ROWS = 256,                          /* rows that share a table */
    FEW = 4096                                 /* less work than this is not worth a second thread */
};

typedef unsigned char bytes __attribute__((vector_size(SIDE), aligned(1), may_alias));

INLINE octet load8(const float *from) { return *(const octet *)from; }

INLINE void store8(float *to, octet v) { *(octet *)to = v; }

/* Keeps a value in a register, where GCC would rather read it from memory at each use. */
#if defined(__AVX__)
#define HOLD(v) __asm__("" : "+v"(v))
#else
#define HOLD(v) (void)0
#endif

/* A function that GCC compiles once and by itself: within its callers all would take a third longer to compile. */
#define APART static void __attribute__((noinline, noclone))

/* Copies numbers, of which there are SIDE but at an edge. */
static inline void copy8(float *to, const float *from, int64_t size)
{
    if (size == SIDE)
        store8(to, load8(from));
    else
        memcpy(to, from, size * sizeof(float));
}

/* The degree + 1 bases that can differ from zero at the fractions f of an interval (Cox-de Boor). */
INLINE void local_bases(vector f, const int degree, vector *bases)
{
    bases[0] = all(1);
#pragma GCC unroll 16
    for (int k = 1; k <= degree; k++) {
        vector carry = all(0);
#pragma GCC unroll 16
        for (int r = 0; r < k; r++) {
            vector share = bases[r] * (1.0f / k);
            bases[r] = carry + ((float)(r + 1) - f) * share;
            carry = (f + (float)(k - 1 - r)) * share;
        }
        bases[k] = carry;
    }
}

/* The knots that all inputs share: the first, one over the distance between two, and a table of all INTERVALS + 1. */
typedef struct {
    float first, inverse_step;
    const float *knots;
} grid;

static grid grid_of(const float *knots, float table[SLOTS])
{
    memset(table, 0, SLOTS * sizeof(float));
    memcpy(table, knots, (INTERVALS + 1) * sizeof(float));
    return (grid){knots[0], (float)(INTERVALS / ((double)knots[INTERVALS] - knots[0])), table};
}

/* Splines of degree 0 jump at the knots, those of degree 1 bend. There the knots themselves decide, not a rounded
   quotient, on which side an x lies, as in `splines.recursion`: an interval holds its left end, the one that ends
   where the grid does its right end, too. */
static ints exactly(vector x, ints whole, const float *knots)
{
    for (int lane = 0; lane < LANES; lane++) {
        int w = whole[lane];
        w += w < INTERVALS && x[lane] >= knots[w + 1];
        w -= x[lane] < knots[w];
        w = x[lane] == knots[COUNT] ? COUNT - 1 : w;
        whole[lane] = w < INTERVALS ? w : -1;
    }
    return whole;
}

/* The interval that holds each x, -1 where none does, and the fraction of it that x has passed: since its left knot,
   for the distance to the first would be rounded with all intervals between. */
INLINE ints locate(vector x, grid g, vector *fraction)
{
    vector u = (x - g.first) * g.inverse_step;
    ints inside = (u >= 0) & (u <= INTERVALS);
    vector within = (vector)((ints)u & inside);
    ints whole = __builtin_convertvector(within, ints);
    if (DEGREE < 2)
        whole = exactly(x, whole, g.knots);
    else
        whole = choose(whole < INTERVALS, whole, whole - 1); /* the right end joins the last */
    whole |= ~inside;
    *fraction = (x - pick(g.knots, whole & (whole >= 0))) * g.inverse_step;
    return whole;
}

/* Numbers of which there are SIDE but at an edge; zeros in place of the others. */
INLINE octet some8(const float *from, int64_t size)
{
    octet found = {0};
    if (size >= SIDE)
        return load8(from);
    if (size > 0)
        memcpy(&found, from, size * sizeof(float));
    return found;
}

/* The same from bytes that are 0 or 1. */
INLINE octet some_bits(const unsigned char *from, int64_t size)
{
    bytes found = {0};
    if (size >= SIDE)
        found = *(const bytes *)from;
    else if (size > 0)
        memcpy(&found, from, size);
    return __builtin_convertvector(__builtin_convertvector(found, places), octet);
}

/* The inputs of a panel, `each` but in the last one. */
static inline int64_t inputs_of(int64_t panel, int64_t each, int64_t columns) { return least(each, columns - panel * each); }

/* Numbers with those that stand in for numbers that are not there. */
static inline int64_t rounded(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

/* How many panels are worked on together. Many edges are read from memory, best in long pieces; those of a small layer
   stay in cache, where whatever lies beside them takes their place: then it is `few` panels. */
static inline int64_t depth_of(int64_t rows, int64_t edges, int64_t few)
{
    int64_t most = LINES / rounded(rows + !rows, TILE);
    return edges > MANY ? most : least(most, few);
}

/* Where the inputs from number `at` on stand: bytes where they are `binary`, else numbers. */
INLINE const void *inputs_at(const int binary, const void *x, int64_t at)
{
    return (const char *)x + at * (binary ? 1 : (int64_t)sizeof(float));
}

/* SIDE columns of a matrix of `rows` rows, as lines of TILE rows; zeros for what is not there. */
INLINE void turn(const float *from, int64_t rows, int64_t size, int64_t stride, float to[SIDE][TILE])
{
    for (int64_t b = 0; b < TILE; b += SIDE) {
        octet square[SIDE];
        for (int64_t t = 0; t < SIDE; t++)
            square[t] = b + t < rows ? some8(from + (b + t) * stride, size) : (octet){0};
        transpose(square);
        for (int64_t t = 0; t < SIDE; t++)
            store8(to[t] + b, square[t]);
    }
}

/* The way back: lines of TILE rows become SIDE columns, or `size` of them. */
INLINE void turn_back(const float from[SIDE][TILE], int64_t rows, int64_t size, int64_t stride, float *to)
{
    for (int64_t b = 0; b < rows; b += SIDE) {
        octet square[SIDE];
        for (int64_t t = 0; t < SIDE; t++)
            square[t] = load8(from[t] + b);
        transpose(square);
        for (int64_t t = 0; t < least(SIDE, rows - b); t++)
            copy8(to + (b + t) * stride, (float *)&square[t], size);
    }
}

/* The bases of one input in LANES rows, a line of TILE rows for each. Those of an x that is not a number are none. */
INLINE void bases_of(vector x, grid g, float *to)
{
    vector fraction, local[LOCAL];
    ints from = locate(x, g, &fraction) - DEGREE; /* the first that is not zero */
    ints lost = (x != x) & (DEGREE > 0 ? -1 : 0); /* all bits set, which is no number either */
    local_bases(fraction, DEGREE, local);
#pragma GCC unroll 64
    for (int j = 0; j < COUNT; j++) {
        ints basis = lost;
#pragma GCC unroll 16
        for (int k = 0; k < LOCAL; k++)
            basis = put(basis, from, j - k, (ints)local[k]);
        store(to + j * TILE, (vector)basis);
    }
}

/* The features of the `size` inputs of a panel, in `rows` rows, TILE at the most: first the bases of each input,
   then the SiLUs. The sigmoids of the inputs go to `sigmoids`, if it is not null. */
APART features_of(const float *x, int64_t rows, int64_t columns, int64_t size, grid g, float (*to)[TILE],
                  float (*sigmoids)[TILE])
{
    for (int64_t i = 0; i < size; i += SIDE) {
        ALIGNED float inputs[SIDE][TILE];
        turn(x + i, rows, least(SIDE, size - i), columns, inputs);
        for (int64_t t = 0; t < least(SIDE, size - i); t++)
            for (int v = 0; v < TILE; v += LANES) {
                vector input = load(inputs[t] + v), share = sigmoid(input);
                bases_of(input, g, to[(i + t) * COUNT] + v);
                store(to[size * COUNT + i + t] + v, input * share);
                if (sigmoids)
                    store(sigmoids[i + t] + v, share);
            }
    }
}

/* The `size` inputs of a panel that are 0 or 1, in `rows` rows, row by row; zeros fill up the last vector. */
static void bits_by_row(const unsigned char *x, int64_t rows, int64_t columns, int64_t size, float (*to)[WIDTH])
{
    for (int64_t b = 0; b < rows; b++)
        for (int64_t i = 0; i < rounded(size, LANES); i += SIDE)
            store8(to[b] + i, some_bits(x + b * columns + i, size - i));
}

/* The same in TILE rows, side by side, and a line of ones, which carries the values at 0. */
static void bits_of(const unsigned char *x, int64_t rows, int64_t columns, int64_t size, float (*to)[TILE])
{
    for (int64_t i = 0; i < size; i += SIDE)
        for (int64_t b = 0; b < TILE; b += SIDE) {
            octet square[SIDE];
            for (int64_t t = 0; t < SIDE; t++)
                square[t] = b + t < rows ? some_bits(x + (b + t) * columns + i, size - i) : (octet){0};
            transpose(square);
            for (int64_t t = 0; t < least(SIDE, size - i); t++)
                store8(to[i + t] + b, square[t]);
        }
    for (int64_t b = 0; b < TILE; b += LANES)
        store(to[size] + b, all(1));
}

/* Coefficients (g, I, n) of `outputs` outputs, in groups that share them. With a group an output no edge shares. */
typedef struct {
    const float *first;
    int64_t outputs, groups;
} curves;

INLINE int64_t group_of(curves spline, int64_t o)
{
    return spline.groups == spline.outputs ? o : o * spline.groups / spline.outputs;
}

/* Whether an output before it is in the group of output o. */
INLINE int follows(curves spline, int64_t o) { return o > 0 && group_of(spline, o) == group_of(spline, o - 1); }

/* Where the coefficients of output o begin, from an input on. */
INLINE const float *curve_of(curves spline, int64_t o, int64_t columns, int64_t i)
{
    return spline.first + (group_of(spline, o) * columns + i) * COUNT;
}

/* The merged weights of a panel for one output, in the order of its features. */
INLINE void merge(const float *spline, const float *scaler, const float *base, int64_t size, float *merged)
{
    memcpy(merged + size * COUNT, base, size * sizeof(float));
    for (int64_t i = 0; i < size; i++, spline += COUNT, merged += COUNT) {
        int j = 0;
        for (; j + SIDE <= COUNT; j += SIDE)
            store8(merged + j, load8(spline + j) * scaler[i]);
        for (; j < COUNT; j++)
            merged[j] = spline[j] * scaler[i];
    }
}

/* The features of an input that is 0, and how much each of them rises from there to 1. */
typedef struct {
    ALIGNED float zero[FEATURES], rise[FEATURES];
} ends;

APART ends_of(grid g, ends *at)
{
    const float inputs[2] = {0, 1};
    ALIGNED float features[FEATURES][TILE];
    features_of(inputs, 2, 1, 1, g, features, 0);
    for (int j = 0; j < FEATURES; j++) {
        at->zero[j] = features[j][0];
        at->rise[j] = features[j][1] - features[j][0];
    }
}

/* The part of `merge_ends` that coefficients have, of SIDE inputs or fewer. By how much the curve of each rises is added
   to its `rise`, in parts that are yet to be summed; its coefficients times its scale are added to `scaled`. */
INLINE void merge_curves(const float *spline, const float *scaler, const ends *at, const int64_t size, octet *rise,
                         octet *scaled)
{
#pragma GCC unroll 8
    for (int64_t t = 0; t < size; t++, spline += COUNT) {
        int j = 0;
        for (; j + SIDE <= COUNT; j += SIDE) {
            rise[t] += load8(spline + j) * load8(at->rise + j);
            scaled[j / SIDE] += load8(spline + j) * scaler[t];
        }
        for (; j < COUNT; j++) {
            rise[t][j % SIDE] += spline[j] * at->rise[j];
            scaled[j / SIDE][j % SIDE] += spline[j] * scaler[t];
        }
    }
}

/* What stands for the weights of an output where inputs are 0 or 1: how much each edge rises from 0 to 1, and
   the sum of their values at 0. */
APART merge_ends(const float *spline, const float *scaler, const float *base, const ends *at, int64_t size,
                 float *merged)
{
    octet bases = {0}, scaled[COUNT / SIDE + 1] = {0};
    for (int64_t i = 0; i < size; i += SIDE) {
        int64_t there = least(SIDE, size - i);
        octet rise[SIDE] = {0}, b = some8(base + i, there);
        if (there == SIDE) /* a number that the compiler knows */
            merge_curves(spline + i * COUNT, scaler + i, at, SIDE, rise, scaled);
        else
            merge_curves(spline + i * COUNT, scaler + i, at, there, rise, scaled);
        octet whole = totals(rise) * some8(scaler + i, there) + b * at->rise[COUNT];
        bases += b;
        copy8(merged + i, (float *)&whole, there);
    }
    float total = 0;
    for (int t = 0; t < SIDE; t++)
        total += bases[t] * at->zero[COUNT];
    for (int j = 0; j < COUNT; j++)
        total += scaled[j / SIDE][j % SIDE] * at->zero[j];
    merged[size] = total;
}

/* Adds to T lines of V vectors the product of a (T, depth) and b (depth, V vectors); strides are in numbers.
   Meanwhile what stands at `next`, if it is not null, and on from there in steps, is fetched into cache. */
INLINE void add_product(const int T, const int V, const float *a, const int64_t row, const int64_t column, const float *b,
                        const int64_t line, int64_t depth, int is_first, float *sums, const int64_t stride, const float *next,
                        int64_t step)
{
    vector sum[TALL][3];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 3
        for (int v = 0; v < V; v++)
            sum[t][v] = is_first ? all(0) : load(sums + t * stride + v * LANES);
    for (int64_t k = 0; k < depth; k++, a += column, b += line) {
        vector part[3];
        if (next) {
            __builtin_prefetch(next);
            next += step;
        }
#pragma GCC unroll 3
        for (int v = 0; v < V; v++) {
            part[v] = load(b + v * LANES);
            HOLD(part[v]);
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            vector number = all(a[t * row]);
            HOLD(number);
#pragma GCC unroll 3
            for (int v = 0; v < V; v++)
                sum[t][v] += number * part[v];
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 3
        for (int v = 0; v < V; v++)
            store(sums + t * stride + v * LANES, sum[t][v]);
}

/* How many outputs a product takes at a time: one less where that leaves fewer places empty, as of 35. */
static inline int64_t height_of(int64_t outputs)
{
    return WIDE == 3 && rounded(outputs, TALL - 1) < rounded(outputs, TALL) ? TALL - 1 : TALL;
}

/* What a row of LANES inputs brings to tables of weights: for each input the bases that can differ from zero,
   its SiLU, and which base is the first of them. */
typedef struct {
    float local[LOCAL + 1][LANES];
    int from[LANES];
} row_part;

/* Where a thread keeps what it works on, which is too large for some stacks. It comes from the heap when a thread
   first needs it, and goes with the thread. */
typedef union {
    struct {
        ALIGNED float features[LINES / TILE][WIDTH][TILE], merged[TALL][WIDTH];
    } forward;
    struct {
        ALIGNED float table[SIDE * TABLE * MOST * LANES], total[TABLE_ROWS * MOST * LANES];
        ALIGNED row_part rows[TABLE_ROWS];
    } tables;
    struct {
        ALIGNED float features[LINES][WIDTH], sums[LINES / TILE][PADDED][TILE], sigmoids[LINES / TILE][LANES][TILE];
        ALIGNED float merged[SHARE + 1][WIDTH], merged_grad[TALL][WIDTH];
    } backward;
} workspace;

static pthread_key_t key;
static int has_key;

static void make_key(void) { has_key = !pthread_key_create(&key, free); }

/* The workspace of this thread; null where there is no memory for it. */
static workspace *get_workspace(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    void *found = 0;
    pthread_once(&once, make_key);
    if (!has_key || (found = pthread_getspecific(key)))
        return found;
    if (posix_memalign(&found, 64, sizeof(workspace)))
        return 0;
    if (!pthread_setspecific(key, found))
        return found;
    free(found);
    return 0;
}

/* The three products of a layer. In a larger function GCC would run out of registers. */

/* Adds to the sums of `height` outputs, TILE rows side by side, the product of merged weights and features. */
APART add_outputs(int64_t height, const float *merged, const float *features, int64_t width, int is_first, float *sums,
                  const float *next)
{
    if (height == TALL)
        add_product(TALL, 2, merged, WIDTH, 1, features, TILE, width, is_first, sums, TILE, next, 8);
    else
        add_product(TALL - 1, 2, merged, WIDTH, 1, features, TILE, width, is_first, sums, TILE, next, 8);
}

/* Adds to the gradients of a panel's features, TILE rows side by side, the product of merged weights and the gradients
   of `depth` outputs. Meanwhile, if `next` is not null, lines of memory are fetched for each output: the coefficients of
   the next panel, which are there, and the places where the gradients of this panel's weights will stand. */
APART add_feature_gradients(const float *merged, const float *upstream, int64_t depth, int is_first, int64_t width,
                            float *sums, const float *next, const float *spline_grad, const float *scaler_grad,
                            const float *base_grad, int64_t columns)
{
    const int64_t lines = LANES * COUNT / 16; /* of coefficients, for an output */
    for (int64_t f = 0, line = 0; f < width; f += TALL, line++) {
        int64_t step = line < 2 * lines ? columns * COUNT : columns;
        const float *there = line < lines        ? next + line * 16
                             : line < 2 * lines  ? spline_grad + (line - lines) * 16
                             : line == 2 * lines ? scaler_grad
                                                 : base_grad;
        if (!next || line > 2 * lines + 1)
            there = 0;
        add_product(TALL, 2, merged + f, 1, WIDTH, upstream, TILE, depth, is_first, sums + f * TILE, TILE, there, step);
    }
}

/* Adds to a part of the gradients of the merged weights of `height` outputs the product of the gradients of the outputs,
   TILE rows side by side, and features of `rows` of them. The part is `size` numbers wide, or what is done at a time. */
APART add_weight_gradients(int64_t height, const float *upstream, const float *features, int64_t rows, int is_first,
                           int64_t size, float *to)
{
    if (WIDE == 3 && size > 2 * LANES && height == TALL)
        add_product(TALL, 3, upstream, TILE, 1, features, WIDTH, rows, is_first, to, WIDTH, 0, 0);
    else if (WIDE == 3 && size > 2 * LANES)
        add_product(TALL - 1, 3, upstream, TILE, 1, features, WIDTH, rows, is_first, to, WIDTH, 0, 0);
    else if (size > LANES)
        add_product(TALL, 2, upstream, TILE, 1, features, WIDTH, rows, is_first, to, WIDTH, 0, 0);
    else
        add_product(TALL, 1, upstream, TILE, 1, features, WIDTH, rows, is_first, to, WIDTH, 0, 0);
}

/* The merged weights of a panel for the outputs [o0, o1), SHARE at the most.
   `at` is null but for inputs that are 0 or 1. */
INLINE void merge_all(curves spline, const float *scaler, const float *base, const ends *at, int64_t columns,
                      int64_t start, int64_t size, int64_t o0, int64_t o1, float (*merged)[WIDTH])
{
    int64_t edge = o0 * columns + start;
    for (int64_t o = 0; o < o1 - o0; o++, edge += columns) {
        const float *c = curve_of(spline, o0 + o, columns, start);
        if (at)
            merge_ends(c, scaler + edge, base + edge, at, size, merged[o]);
        else if (size == LANES) /* a number that the compiler knows */
            merge(c, scaler + edge, base + edge, LANES, merged[o]);
        else
            merge(c, scaler + edge, base + edge, size, merged[o]);
    }
}

/* Sums of the outputs [o0, o1), from the panels [panel, end): (tiles, lines, TILE). rows is LINES at the most.
   Sums run in the order of the inputs. x holds bytes where `binary`, else numbers. */
INLINE void panels_forward(const int binary, const void *x, curves spline, const float *scaler, const float *base,
                           int64_t rows, int64_t columns, int64_t panel, int64_t end, grid g, int64_t o0, int64_t o1,
                           int64_t lines, workspace *work, float *sums)
{
    float(*features)[WIDTH][TILE] = work->forward.features, (*merged)[WIDTH] = work->forward.merged;

    int64_t tiles = (rows + TILE - 1) / TILE, most = depth_of(rows, columns * lines, 1), deep, tall = height_of(o1 - o0);
    const int64_t each = binary ? BITS : LANES;
    ends at;
    if (binary)
        ends_of(g, &at);
    for (int64_t from = panel; panel < end; panel += deep) {
        deep = least(most, end - panel);
        for (int64_t d = 0; d < deep; d++)
            for (int64_t b = 0; b < tiles; b++) {
                const void *inputs = inputs_at(binary, x, b * TILE * columns + (panel + d) * each);
                int64_t height = least(TILE, rows - b * TILE), size = inputs_of(panel + d, each, columns);
                if (binary)
                    bits_of(inputs, height, columns, size, features[d * tiles + b]);
                else
                    features_of(inputs, height, columns, size, g, features[d * tiles + b], 0);
            }
        for (int64_t o = o0; o < o1; o += tall)
            for (int64_t d = 0; d < deep; d++) {
                int64_t start = (panel + d) * each, size = inputs_of(panel + d, each, columns), there = least(tall, o1 - o);
                int64_t width = binary ? size + 1 : size * FEATURES;
                /* a part of the weights of the next outputs, each output's lying in one piece */
                const float *next = spline.first + ((o + tall + d * tall / deep) * columns + panel * LANES) * COUNT
                                    + d * tall % deep * LANES * COUNT;
                merge_all(spline, scaler, base, binary ? &at : 0, columns, start, size, o, o + there, merged);
                memset(merged[there], 0, (tall - there) * sizeof *merged); /* outputs that are not there */
                for (int64_t b = 0; b < tiles; b++)
                    add_outputs(tall, merged[0], features[d * tiles + b][0], width, panel + d == from,
                                sums + (b * lines + o) * TILE, b || binary || spline.groups < spline.outputs ? 0 : next);
            }
    }
}

/* The lines of an (O, TILE) matrix, with those that stand in for outputs that are not there. */
static inline int64_t lines_of(int64_t outputs) { return rounded(outputs, BLOCK); }

/* In how many parts inputs are cut in the forward pass, and outputs in the backward pass where inputs are few, so
   that there is work for several threads. Inputs that are 0 or 1 have no features to be made only once, and no
   gradient to be summed: outputs can be cut instead, at will. */
static inline int64_t input_parts(const int binary, int64_t columns)
{
    return binary || columns < 256 ? 1 : columns < 512 ? 2 : 4;
}

static inline int64_t output_parts(const int binary, int threads, int64_t columns, curves spline)
{
    int64_t outputs = spline.outputs;
    if (spline.groups < outputs) /* their gradients are sums over outputs */
        return 1;
    return binary ? threads : columns < 256 ? (outputs + 255) / 256 : 1;
}

/* Whether every thread turns the gradient of the outputs for itself. Of few rows that takes less time than
   getting what another thread turned. */
static inline int turns_itself(int64_t rows) { return rows <= 2 * TILE; }

/* A place for numbers, to be freed; null where there is none. */
static float *place_for(int64_t numbers)
{
    void *found;
    return posix_memalign(&found, 64, (numbers + !numbers) * sizeof(float)) ? 0 : found;
}

/* The outputs of LINES rows at the most: all features times the merged weights, rows side by side. */
INLINE int forward_by_products(const int binary, int threads, const void *x, curves spline, const float *scaler,
                                const float *base, int64_t rows, int64_t columns, int64_t outputs, grid g, float *y)
{
    const int64_t each = binary ? BITS : LANES;
    int64_t panels = (columns + each - 1) / each, lines = lines_of(outputs), size = rounded(rows, TILE) * lines;
    int64_t parts = input_parts(binary, columns), shares = (threads + parts - 1) / parts; /* work for every thread */
    int64_t share = rounded((outputs + shares - 1) / shares, TALL);
    float *sums = place_for(parts * size);
    int failed = !sums;
#pragma omp parallel num_threads(threads) if (rows * columns * outputs > FEW) reduction(| : failed)
    {
        workspace *work = sums ? get_workspace() : 0;
        failed |= !work;
#pragma omp for collapse(2)
        for (int64_t p = 0; p < parts; p++)
            for (int64_t o = 0; o < outputs; o += share)
                if (work)
                    panels_forward(binary, x, spline, scaler, base, rows, columns, p * panels / parts,
                                   (p + 1) * panels / parts, g, o, least(o + share, outputs), lines, work,
                                   sums + p * size);

#pragma omp for collapse(2)
        for (int64_t b = 0; b < (sums ? rows : 0); b += TILE)
            for (int64_t o = 0; o < outputs; o += SIDE) {
                float *to = sums + b * lines + o * TILE;
                for (int64_t p = 1; p < parts; p++)
                    for (int i = 0; i < SIDE * TILE; i += LANES)
                        store(to + i, load(to + i) + load(to + p * size + i));
                turn_back((const float(*)[TILE])to, least(TILE, rows - b), least(SIDE, outputs - o), outputs,
                          y + b * outputs + o);
            }
    }
    free(sums);
    return failed;
}

/* The merged weights of SIDE inputs from i0 on and of `size` outputs from o0 on, as a table in which the
   outputs of a feature lie side by side, `stride` numbers for each. Before and after the coefficients of an
   input there are DEGREE rows of zeros, for bases beyond the ends; what is not there is zero too. */
APART make_table(curves spline, const float *scaler, const float *base, int64_t columns, int64_t i0,
                 int64_t o0, int64_t size, int64_t stride, float *table)
{
    int64_t depth = least(SIDE, columns - i0), whole = depth == SIDE && size >= SIDE && COUNT % SIDE == 0;
    scaler += o0 * columns + i0, base += o0 * columns + i0;
    if (!whole || size % LANES)
        memset(table, 0, SIDE * TABLE * stride * sizeof(float));
    for (int64_t o = 0; whole && o < size; o += SIDE) {
        o = least(o, size - SIDE); /* the last square overlaps the one before */
        octet scale[SIDE], square[SIDE];
        const float *c[SIDE];
        for (int t = 0; t < SIDE; t++) {
            c[t] = curve_of(spline, o0 + o + t, columns, i0);
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
                    square[t] = load8(c[t] + i * COUNT + j);
                transpose(square);
#pragma GCC unroll 8
                for (int t = 0; t < SIDE; t++)
                    store8(to + t * stride, square[t] * scale[i]);
            }
    }
    for (int64_t o = 0; !whole && o < size; o++)
        for (int64_t i = 0; i < depth; i++) {
            int64_t edge = o * columns + i;
            const float *c = curve_of(spline, o0 + o, columns, i0 + i);
            float *to = table + i * TABLE * stride + o;
            for (int j = 0; j < COUNT; j++)
                to[(DEGREE + j) * stride] = c[j] * scaler[edge];
            to[(TABLE - 1) * stride] = base[edge];
        }
}

INLINE void look(const float *x, int64_t size, grid g, row_part *row)
{
    vector fraction, local[LOCAL], inputs = {0};
    if (size >= LANES)
        inputs = load(x);
    else
        memcpy(&inputs, x, size * sizeof(float));
    ints at = locate(inputs, g, &fraction), there = at >= 0;
    local_bases(fraction, DEGREE, local);
    for (int k = 0; k < LOCAL; k++)
        store(row->local[k], (vector)((ints)local[k] & there));
    store(row->local[LOCAL], inputs * sigmoid(inputs));
    *(ints *)row->from = at & there;
}

/* Adds to R rows of V vectors of outputs what SIDE inputs, from i0 of their part on, give to them. Of the bases
   of an input only the LOCAL that can differ from zero are multiplied. */
INLINE void add_rows(const row_part *rows, int64_t i0, const float *table, const int V, const int R, float *total)
{
    vector sum[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            sum[r][v] = load(total + (r * V + v) * LANES);
    for (int64_t i = i0; i < i0 + SIDE; i++, table += TABLE * V * LANES)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float *w = table + (int64_t)rows[r].from[i] * V * LANES, *silu = table + (TABLE - 1) * V * LANES;
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
INLINE void add_all_rows(const row_part *rows, int64_t count, int64_t i0, const float *table, const int V, float *total)
{
    const int R = V < 2 ? 8 : V < 3 ? 4 : V < 6 ? 2 : 1;
    int64_t b = 0;
    for (; b + R <= count; b += R)
        add_rows(rows + b, i0, table, V, R, total + b * V * LANES);
    for (; b < count; b++)
        add_rows(rows + b, i0, table, V, 1, total + b * V * LANES);
}

/* The outputs y (B, O) of `height` rows and the outputs [o0, o1), by tables. Sums run in the order of the inputs. */
static void outputs_by_table(workspace *work, const float *x, curves spline, const float *scaler, const float *base,
                             int64_t height, int64_t columns, int64_t outputs, grid g, int64_t o0,
                             int64_t o1, float *y)
{
    float *table = work->tables.table, *total = work->tables.total;
    row_part *rows = work->tables.rows;
    int64_t V = (o1 - o0 + LANES - 1) / LANES, stride = V * LANES;
    memset(table, 0, SIDE * TABLE * stride * sizeof(float));
    memset(total, 0, height * stride * sizeof(float));
    for (int64_t i = 0; i < columns; i += SIDE) {
        make_table(spline, scaler, base, columns, i, o0, o1 - o0, stride, table);
        for (int64_t b = 0; b < height && i % LANES == 0; b++) {
            look(x + b * columns + i, columns - i, g, rows + b);
            __builtin_prefetch(x + b * columns + i + LANES);
        }
        switch (V) { /* a number that the compiler knows */
        case 1: add_all_rows(rows, height, i % LANES, table, 1, total); break;
        case 2: add_all_rows(rows, height, i % LANES, table, 2, total); break;
        case 3: add_all_rows(rows, height, i % LANES, table, 3, total); break;
        case 4: add_all_rows(rows, height, i % LANES, table, 4, total); break;
        case 5: add_all_rows(rows, height, i % LANES, table, 5, total); break;
        case 6: add_all_rows(rows, height, i % LANES, table, 6, total); break;
        case 7: add_all_rows(rows, height, i % LANES, table, 7, total); break;
        default: add_all_rows(rows, height, i % LANES, table, 8, total);
        }
    }
    for (int64_t b = 0; b < height; b++)
        memcpy(y + b * outputs + o0, total + b * stride, (o1 - o0) * sizeof(float));
}

/* The outputs of any number of rows: what is not zero times tables of merged weights, outputs side by side. */
static int forward_by_tables(int threads, const float *x, curves spline, const float *scaler, const float *base, int64_t rows,
                              int64_t columns, int64_t outputs, grid g, float *y)
{
    int64_t vectors = (outputs + LANES - 1) / LANES, tables = (vectors + MOST - 1) / MOST;
    int64_t part = (vectors + tables - 1) / tables * LANES;          /* outputs that share a table */
    int64_t share = (rows * tables + threads - 1) / threads;         /* work for every thread, */
    int64_t height = least(TABLE_ROWS, share < SIDE ? SIDE : share); /* but each table for some rows */
    int failed = 0;
#pragma omp parallel num_threads(threads) if (rows * columns * outputs > FEW) reduction(| : failed)
    {
        workspace *work = get_workspace();
        failed |= !work;
#pragma omp for collapse(2)
        for (int64_t b = 0; b < rows; b += height)
            for (int64_t o = 0; o < outputs; o += part)
                if (work)
                    outputs_by_table(work, x + b * columns, spline, scaler, base, least(height, rows - b), columns,
                                     outputs, g, o, least(o + part, outputs), y + b * outputs);
    }
    return failed;
}

/* Whether the knots (I, INTERVALS + 1) of all inputs are the same, and evenly spaced but for rounding. If so they are
   written to `shared`. */
int share_even_knots(const float *knots, int64_t columns, float *shared)
{
    const size_t places = INTERVALS + 1;
    double first = knots[0], width = knots[INTERVALS] - first, rounding = 8 * FLT_EPSILON * width;
    if (!(INTERVALS / width <= FLT_MAX && INTERVALS / width >= FLT_MIN))
        return 0;
    for (int j = 0; j <= INTERVALS; j++)
        if (!(fabs(knots[j] - (first + width * j / INTERVALS)) <= rounding))
            return 0;
    if (memcmp(knots, knots + places, (columns - 1) * places * sizeof(float)))
        return 0;
    memcpy(shared, knots, places * sizeof(float));
    return 1;
}

/* x (B, I), coefficients (g, I, n) of `groups` groups of outputs, scaler (O, I), base (O, I), the knots of all inputs
   -> y (B, O), and the knots that they share. x holds bytes that are 0 or 1 where `binary`, else numbers. 1 if memory is
   lacking, UNEVEN if the inputs share no even knots: then nothing is written. */
enum { UNEVEN = 2 };

int forward(int binary, int threads, int64_t rows, int64_t columns, int64_t outputs, int64_t groups, const float *knots,
            float *shared, const void *x, const float *coefficients, const float *scaler, const float *base, float *y)
{
    if (!share_even_knots(knots, columns, shared))
        return UNEVEN;
    curves spline = {coefficients, outputs, groups};
    float table[SLOTS];
    grid g = grid_of(shared, table);
    if (!binary && rows > FEW_ROWS)
        return forward_by_tables(threads, x, spline, scaler, base, rows, columns, outputs, g, y);
    if (!binary)
        return forward_by_products(0, threads, x, spline, scaler, base, rows, columns, outputs, g, y);
    int failed = 0;
    for (int64_t b = 0; b < rows; b += LINES)
        failed |= forward_by_products(1, threads, inputs_at(1, x, b * columns), spline, scaler, base,
                                      least(LINES, rows - b), columns, outputs, g, y + b * outputs);
    return failed;
}

/* The gradients of the bases and of the SiLU of an input in LANES rows -> that of the input, whose sigmoid is `share`.
   The slope of a base is the difference of two bases of one degree less, over the step. */
INLINE vector slope_of(vector x, vector share, const float *grads, const float *silu, grid g)
{
    vector fraction, lower[LOCAL + 1];
    ints from = locate(x, g, &fraction) - DEGREE, found = {0};
    lower[0] = lower[LOCAL] = all(0); /* the bases of one degree less, between two zeros */
    if (DEGREE > 0)
        local_bases(fraction, DEGREE - 1, lower + 1);
#pragma GCC unroll 64
    for (int f = -DEGREE; f < COUNT; f++) {
        vector sum = all(0);
#pragma GCC unroll 16
        for (int k = 0; k < LOCAL; k++)
            if (f + k >= 0 && f + k < COUNT)
                sum += (lower[k] - lower[k + 1]) * load(grads + (f + k) * TILE);
        found = put(found, from, f, (ints)sum);
    }
    return (vector)found * g.inverse_step + load(silu) * share * (1 + x * (1 - share));
}

/* The gradient of a panel's merged weights, for one output -> those of the three they were made of, or, where it
   is not the first, what is added to them; to those of the coefficients where it does not `start` them. */
INLINE void split(const float *merged_grad, const float *spline, const float *scaler, int64_t size, int is_first,
                  int starts, float *spline_grad, float *scaler_grad, float *base_grad)
{
    for (int64_t i0 = 0; i0 < size; i0 += SIDE) {
        octet products[SIDE] = {0};
        int64_t there = least(SIDE, size - i0);
        for (int64_t i = 0; i < there; i++) {
            const float *from = merged_grad + (i0 + i) * COUNT, *c = spline + (i0 + i) * COUNT;
            float *to = spline_grad + (i0 + i) * COUNT;
            int j = 0;
            for (; j + SIDE <= COUNT; j += SIDE) {
                octet grad = load8(from + j) * scaler[i0 + i];
                products[i] += load8(from + j) * load8(c + j);
                if (!starts)
                    grad += load8(to + j);
                store8(to + j, grad);
            }
            for (; j < COUNT; j++) {
                products[i][j % SIDE] += from[j] * c[j];
                to[j] = (starts ? 0 : to[j]) + from[j] * scaler[i0 + i];
            }
        }
        octet found = totals(products), base = load8(merged_grad + size * COUNT + i0);
        if (!is_first) {
            found += some8(scaler_grad + i0, there);
            base += some8(base_grad + i0, there);
        }
        copy8(scaler_grad + i0, (float *)&found, there);
        copy8(base_grad + i0, (float *)&base, there);
    }
}

/* The part of `split_ends` that coefficients have, of SIDE inputs or fewer: their gradients, and the products of which
   the gradients of the scales are sums. `still` is what the value at 0 brings to every edge of the output. */
INLINE void split_curves(const float *rise_grad, const octet *still, const float *spline, const float *scaler,
                         const ends *at, const int64_t size, const int starts, octet *products, float *spline_grad)
{
#pragma GCC unroll 8
    for (int64_t t = 0; t < size; t++, spline += COUNT, spline_grad += COUNT) {
        int j = 0;
        for (; j + SIDE <= COUNT; j += SIDE) {
            octet grad = still[j / SIDE] + load8(at->rise + j) * rise_grad[t];
            products[t] += grad * load8(spline + j);
            grad *= scaler[t];
            if (!starts)
                grad += load8(spline_grad + j);
            store8(spline_grad + j, grad);
        }
        for (; j < COUNT; j++) {
            float grad = still[j / SIDE][j % SIDE] + at->rise[j] * rise_grad[t];
            products[t][j % SIDE] += grad * spline[j];
            spline_grad[j] = (starts ? 0 : spline_grad[j]) + grad * scaler[t];
        }
    }
}

/* The gradient of the rises that `merge_ends` made for one output, and that of their output in all rows -> those of
   the three weights, or what is added to them. */
APART split_ends(const float *rise_grad, float all_rows, const float *spline, const float *scaler,
                 const ends *at, int64_t size, int is_first, int starts, float *spline_grad,
                 float *scaler_grad, float *base_grad)
{
    octet still[COUNT / SIDE + 1];
    for (int j = 0; j < COUNT; j++)
        still[j / SIDE][j % SIDE] = all_rows * at->zero[j];
    for (int64_t i = 0; i < size; i += SIDE) {
        int64_t there = least(SIDE, size - i);
        octet products[SIDE] = {0}, base = some8(rise_grad + i, there) * at->rise[COUNT] + all_rows * at->zero[COUNT];
        const float *c = spline + i * COUNT;
        if (there == SIDE && starts) /* numbers that the compiler knows */
            split_curves(rise_grad + i, still, c, scaler + i, at, SIDE, 1, products, spline_grad + i * COUNT);
        else
            split_curves(rise_grad + i, still, c, scaler + i, at, there, starts, products, spline_grad + i * COUNT);
        octet found = totals(products);
        if (!is_first) {
            found += some8(scaler_grad + i, there);
            base += some8(base_grad + i, there);
        }
        copy8(scaler_grad + i, (float *)&found, there);
        copy8(base_grad + i, (float *)&base, there);
    }
}

/* The sums of TALL lines of a tile. */
INLINE octet sums_of_lines(const float *lines)
{
    octet sum[SIDE] = {0};
    for (int t = 0; t < TALL; t++)
        for (int i = 0; i < TILE; i += SIDE)
            sum[t] += load8(lines + t * TILE + i);
    return totals(sum);
}

/* upstream (tiles, lines, TILE) -> the gradients of the inputs of `deep` panels, if x_grad is not null, and of their
   weights; those of the outputs [o0, o1). deep * rows is LINES at the most. */
INLINE void panels_backward(const int binary, const void *x, const float *upstream, curves spline,
                            const float *scaler, const float *base, int64_t rows, int64_t columns, int64_t panel, int64_t deep,
                            int64_t o0, int64_t o1, int64_t lines, int is_first, grid g, workspace *work,
                            float *x_grad, float *spline_grad, float *scaler_grad, float *base_grad)
{
    const int64_t each = binary ? BITS : LANES;
    ends ends_at;
    if (binary)
        ends_of(g, &ends_at);
    float(*features)[WIDTH] = work->backward.features, (*sums)[PADDED][TILE] = work->backward.sums;
    float(*sigmoids)[LANES][TILE] = work->backward.sigmoids;
    float(*merged)[WIDTH] = work->backward.merged, (*merged_grad)[WIDTH] = work->backward.merged_grad;
    int64_t tiles = rounded(rows + !rows, TILE) / TILE;
    /* Of many weights for few rows the outputs are few, too: as many pages of memory are in use at a time. */
    int64_t share = tiles < 4 && columns * lines > MANY ? TALL : SHARE;
    int64_t tall = o1 - o0 > share ? TALL : height_of(o1 - o0), shared = spline.groups < spline.outputs;
    for (int64_t d = 0; d < deep; d++)
        for (int64_t b = 0; b < tiles; b++) { /* row by row */
            const void *inputs = inputs_at(binary, x, b * TILE * columns + (panel + d) * each);
            int64_t height = least(TILE, rows - b * TILE), size = inputs_of(panel + d, each, columns);
            if (binary) {
                bits_by_row(inputs, height, columns, size, features + (d * tiles + b) * TILE);
                continue;
            }
            features_of(inputs, height, columns, size, g, sums[0], x_grad ? sigmoids[d * tiles + b] : 0);
            int64_t width = size * FEATURES, full = rounded(width, LANES);
            memset(sums[0][width], 0, (full - width) * sizeof **sums);
            for (int64_t f = 0; f < full; f += SIDE)
                for (int64_t r = 0; r < TILE; r += SIDE) {
                    octet square[SIDE];
                    for (int t = 0; t < SIDE; t++)
                        square[t] = load8(sums[0][f + t] + r);
                    transpose(square);
                    for (int t = 0; t < SIDE; t++)
                        store8(features[(d * tiles + b) * TILE + r + t] + f, square[t]);
                }
        }
    for (int64_t from = o0; o0 < o1; o0 += share)
        for (int64_t d = 0; d < deep; d++) {
            int64_t start = (panel + d) * each, size = inputs_of(panel + d, each, columns);
            int64_t width = binary ? size : size * FEATURES, depth = least(share, o1 - o0);
            if (!binary && x_grad) {
                merge_all(spline, scaler, base, 0, columns, start, size, o0, o0 + depth, merged);
                int64_t edge = o0 * columns + start;
                for (int64_t b = 0; b < tiles; b++)
                    add_feature_gradients(merged[0], upstream + (b * lines + o0) * TILE, depth, o0 == from, width,
                                          sums[d * tiles + b][0],
                                          b || shared ? 0 : spline.first + (edge + LANES) * COUNT,
                                          spline_grad + edge * COUNT, scaler_grad + edge, base_grad + edge, columns);
            }
            for (int64_t o = 0; o < depth; o += tall) {
                int64_t at = (o0 + o) * columns + start;
                for (int64_t v = 0; v < width; v += WIDE * LANES)
                    for (int64_t b = 0; b < tiles; b++)
                        add_weight_gradients(tall, upstream + (b * lines + o0 + o) * TILE,
                                             features[(d * tiles + b) * TILE] + v, least(TILE, rows - b * TILE),
                                             b == 0, width - v, merged_grad[0] + v);
                octet all_rows = {0};
                for (int64_t b = 0; binary && rows && b < tiles; b++)
                    all_rows += sums_of_lines(upstream + (b * lines + o0 + o) * TILE);
                for (int64_t t = 0; t < least(tall, depth - o); t++, at += columns) {
                    const float *c = curve_of(spline, o0 + o + t, columns, start), *s = scaler + at;
                    float *to = spline_grad + (c - spline.first);
                    int starts = is_first && !(shared && follows(spline, o0 + o + t));
                    if (binary)
                        split_ends(merged_grad[t], all_rows[t], c, s, &ends_at, size, is_first, starts, to,
                                   scaler_grad + at, base_grad + at);
                    else if (size == LANES && starts) /* numbers that the compiler knows */
                        split(merged_grad[t], c, s, LANES, 1, 1, to, scaler_grad + at, base_grad + at);
                    else
                        split(merged_grad[t], c, s, size, is_first, starts, to, scaler_grad + at, base_grad + at);
                }
            }
        }
    for (int64_t b = 0; !binary && b < tiles && x_grad; b++)
        for (int64_t d = 0; d < deep; d++)
            for (int64_t i = 0; i < inputs_of(panel + d, LANES, columns); i += SIDE) {
                ALIGNED float inputs[SIDE][TILE], slopes[SIDE][TILE];
                int64_t at = b * TILE * columns + (panel + d) * LANES + i, height = least(TILE, rows - b * TILE);
                int64_t width = inputs_of(panel + d, LANES, columns) * COUNT;
                int64_t size = least(SIDE, columns - (panel + d) * LANES - i);
                float(*grads)[TILE] = sums[d * tiles + b];
                turn((const float *)x + at, height, size, columns, inputs);
                for (int64_t t = 0; t < size; t++)
                    for (int v = 0; v < TILE; v += LANES)
                        store(slopes[t] + v,
                              slope_of(load(inputs[t] + v), load(sigmoids[d * tiles + b][i + t] + v),
                                       grads[(i + t) * COUNT] + v, grads[width + i + t] + v, g));
                turn_back((const float(*)[TILE])slopes, height, size, columns, x_grad + at);
            }
}

/* SIDE outputs from o on of a (B, O) matrix, in the tile of rows that begins at b -> (tiles, lines, TILE). */
APART turn_outputs(const float *from, int64_t rows, int64_t outputs, int64_t b, int64_t o, float *to)
{
    turn(from + b * outputs + o, least(TILE, rows - b), least(SIDE, outputs - o), outputs,
         (float(*)[TILE])(to + b * lines_of(outputs) + o * TILE));
}

INLINE int backward_of(const int binary, int threads, const void *x, const float *grad, curves spline, const float *scaler,
                        const float *base, int64_t rows, int64_t columns, int64_t outputs, grid g,
                       float *x_grad, float *spline_grad, float *scaler_grad, float *base_grad)
{
    const int64_t each = binary ? BITS : LANES;
    int64_t panels = (columns + each - 1) / each, lines = lines_of(outputs);
    int64_t parts = output_parts(binary, threads, columns, spline);
    x_grad = rows ? x_grad : 0; /* without rows there is no upstream gradient to read */
    int64_t height = least(LINES, rows + !rows), deep = depth_of(height, columns * lines, 2);
    int64_t size = rounded(rows, TILE) * lines, own = turns_itself(rows);
    int64_t whole = (own ? threads : 1) * size, summed = parts > 1 && x_grad ? parts * rows * columns : 0;
    float *upstream = place_for(whole + summed), *x_parts = summed ? upstream + whole : x_grad;
    if (!upstream)
        return 1;

    /* Where rows are few, several panels at a time, for they follow each other in memory; work for every thread. */
    int64_t groups = rounded((panels + deep - 1) / deep * parts, threads);
    groups = least((groups + parts - 1) / parts, panels);
    int failed = 0;
#pragma omp parallel num_threads(threads) if (rows * columns * outputs > FEW) reduction(| : failed)
    {
        workspace *work = get_workspace();
        failed |= !work;
        float *turned = upstream + own * THREAD * size;
        int64_t part = -1; /* whose gradient stands there */
#pragma omp for collapse(2)
        for (int64_t b = 0; b < (own ? 0 : rows); b += TILE)
            for (int64_t o = 0; o < lines; o += SIDE)
                turn_outputs(grad, rows, outputs, b, o, turned);
#pragma omp for collapse(2)
        for (int64_t p = 0; p < parts; p++)
            for (int64_t n = 0; n < groups; n++) {
                int64_t from = n * panels / groups, to = (n + 1) * panels / groups;
                int64_t o0 = p * (lines / BLOCK) / parts * BLOCK, o1 = (p + 1) * (lines / BLOCK) / parts * BLOCK;
                for (int64_t b = 0; b < rows && own && part != p; b += TILE)
                    for (int64_t o = o0; o < o1; o += SIDE)
                        turn_outputs(grad, rows, outputs, b, o, turned);
                part = p;
                for (int64_t b = 0; work && (b == 0 || b < rows); b += height)
                    panels_backward(binary, inputs_at(binary, x, b * columns), turned + b * lines, spline, scaler, base,
                                    least(height, rows - b), columns, from, to - from, o0, least(o1, outputs), lines,
                                    b == 0, g, work, x_parts ? x_parts + (p * rows + b) * columns : 0,
                                    spline_grad, scaler_grad, base_grad);
            }
        if (x_parts != x_grad) {
#pragma omp for
            for (int64_t i = 0; i < rows * columns; i++) {
                float sum = 0;
                for (int64_t p = 0; p < parts; p++)
                    sum += x_parts[p * rows * columns + i];
                x_grad[i] = sum;
            }
        }
    }
    free(upstream);
    return failed;
}

/* The gradient of the output (B, O) -> those of the input (not if x_grad is null) and the weights. x is what `forward`
   got, the knots are those that it found to be shared; bytes have no gradient. Not 0 if memory is lacking. */
int backward(int binary, int threads, int64_t rows, int64_t columns, int64_t outputs, int64_t groups, const float *knots,
             const void *x, const float *grad, const float *coefficients, const float *scaler, const float *base,
             float *x_grad, float *spline_grad, float *scaler_grad, float *base_grad)
{
    curves spline = {coefficients, outputs, groups};
    float table[SLOTS];
    grid g = grid_of(knots, table);
    if (binary)
        return backward_of(1, threads, x, grad, spline, scaler, base, rows, columns, outputs, g, 0,
                           spline_grad, scaler_grad, base_grad);
    return backward_of(0, threads, x, grad, spline, scaler, base, rows, columns, outputs, g, x_grad,
                       spline_grad, scaler_grad, base_grad);
}
