/* The digest of an object of few short scalars. Part of `_native.c`.

   The same as `digest_of_scalars` of values.py does in Python, which is asked where a text may name a script or an address. */

typedef struct {
    uint64_t state[8], bytes;
    unsigned char block[128];
    size_t filled;
} Blake;

static const uint64_t BLAKE_BEGIN[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                        0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
static const unsigned char BLAKE_ORDER[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static inline uint64_t turned(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

static inline void blake_mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

static uint64_t little_endian(const unsigned char *bytes) {
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) word = word << 8 | bytes[i];
    return word;
}

/* One block into the state (RFC 7693, section 3.2). */
static void blake_block(Blake *blake, int is_last) {
    uint64_t v[16], words[16];
    for (int i = 0; i < 16; i++) words[i] = little_endian(blake->block + 8 * i);
    for (int i = 0; i < 8; i++) v[i] = blake->state[i], v[i + 8] = BLAKE_BEGIN[i];
    v[12] ^= blake->bytes;
    if (is_last) v[14] = ~v[14];
    for (int turn = 0; turn < 12; turn++) {
        const unsigned char *s = BLAKE_ORDER[turn % 10];
        blake_mix(v, 0, 4, 8, 12, words[s[0]], words[s[1]]);
        blake_mix(v, 1, 5, 9, 13, words[s[2]], words[s[3]]);
        blake_mix(v, 2, 6, 10, 14, words[s[4]], words[s[5]]);
        blake_mix(v, 3, 7, 11, 15, words[s[6]], words[s[7]]);
        blake_mix(v, 0, 5, 10, 15, words[s[8]], words[s[9]]);
        blake_mix(v, 1, 6, 11, 12, words[s[10]], words[s[11]]);
        blake_mix(v, 2, 7, 8, 13, words[s[12]], words[s[13]]);
        blake_mix(v, 3, 4, 9, 14, words[s[14]], words[s[15]]);
    }
    for (int i = 0; i < 8; i++) blake->state[i] ^= v[i] ^ v[i + 8];
}

static void blake_add(Blake *blake, const char *bytes, size_t size) {
    while (size > 0) {
        if (blake->filled == sizeof blake->block) { /* the last one is not known to be full before another byte comes */
            blake_block(blake, 0);
            blake->filled = 0;
        }
        size_t taken = sizeof blake->block - blake->filled;
        if (taken > size) taken = size;
        memcpy(blake->block + blake->filled, bytes, taken);
        blake->filled += taken;
        blake->bytes += taken;
        bytes += taken;
        size -= taken;
    }
}

/* 16 hexadecimal digits of BLAKE2b with 8 bytes, as `digest_bytes`. */
static void blake_digits(const Part *parts, int count, char *digits) {
    Blake blake = {.filled = 0};
    memcpy(blake.state, BLAKE_BEGIN, sizeof blake.state);
    blake.state[0] ^= 0x01010008; /* 8 bytes, no key, no tree */
    for (int i = 0; i < count; i++) blake_add(&blake, parts[i].bytes, (size_t)parts[i].size);
    memset(blake.block + blake.filled, 0, sizeof blake.block - blake.filled);
    blake_block(&blake, 1);
    for (int i = 0; i < 16; i++) digits[i] = "0123456789abcdef"[blake.state[0] >> (8 * (i / 2) + (i % 2 ? 0 : 4)) & 15];
}

enum { MOST_SHOWN = 16, MOST_SMALL_BYTES = 2048 }; /* `SHOWN_ATTRIBUTES` and half of `LARGE_BYTES` of opaque.py */

/* Whether texts that differ between processes may be in JSON: `"__main__"`, the address of an object, and the directory of a
   copied program (`COPIES` of script_names.py). */
static int may_differ_elsewhere(const char *raw, Py_ssize_t size) {
    return holds(raw, raw + size, '_', "__main__\"") || holds(raw, raw + size, ' ', " at 0x") || holds(raw, raw + size, '-', "-trace-replay-");
}

/* What of a redactor says what is harmless. */
typedef struct {
    PyObject *known; /* names, a new reference; NULL where all is harmless, or `is_harmless` has to be asked */
    int reads_texts, is_asked;
} Hides;

static int truth_of(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    int is_true = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return is_true;
}

/* 1, or 0 with an exception. */
static int read_hides(PyObject *hides, Hides *found) {
    *found = (Hides){NULL, 0, 0};
    if (hides == Py_None) return 1;
    int is_enabled = truth_of(hides, W_enabled);
    if (is_enabled < 0) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return 0;
        PyErr_Clear();
        return found->is_asked = 1;
    }
    if (!is_enabled) return 1;
    return (found->reads_texts = truth_of(hides, W_reads_texts)) >= 0 && (found->known = PyObject_GetAttr(hides, W_known_keys)) != NULL;
}

/* As `is_harmless` of what hides secrets, of a redactor without a call of Python: 1, 0, or -1 with an exception. */
static int are_harmless(PyObject *hides, const Hides *read, PyObject *attributes, PyObject *raw) {
    PyObject *name, *said;
    int answer = 1;
    if (read->known == NULL && !read->is_asked) return 1;
    for (Py_ssize_t at = 0; read->known != NULL && PyDict_Next(attributes, &at, &name, NULL);)
        if ((answer = PySet_Check(read->known) ? PySet_Contains(read->known, name) : PySequence_Contains(read->known, name)) != 1) return answer;
    if (read->is_asked) {
        said = PyObject_CallMethodObjArgs(hides, W_is_harmless, attributes, raw, NULL);
    } else {
        if (!read->reads_texts) return 1;
        PyObject *looks_clean = PyObject_GetAttr(hides, W_looks_clean);
        said = looks_clean == NULL ? NULL : PyObject_CallOneArg(looks_clean, raw);
        Py_XDECREF(looks_clean);
    }
    answer = said == NULL ? -1 : PyObject_IsTrue(said);
    Py_XDECREF(said);
    return answer;
}

/* Digests of harmless attributes that were asked for last, since arguments and results often recur. */
enum { KEPT_DIGESTS = 16 };
typedef struct {
    PyObject *head, *known, *raw, *digest;
    int reads_texts;
} KeptDigest;
static KeptDigest KEPT_DIGEST[KEPT_DIGESTS];

static KeptDigest *kept_digest(PyObject *raw) { return &KEPT_DIGEST[(size_t)PyObject_Hash(raw) % KEPT_DIGESTS]; }

static int is_kept(const KeptDigest *kept, PyObject *head, const Hides *read, PyObject *raw) {
    return kept->raw != NULL && kept->head == head && kept->known == read->known && kept->reads_texts == read->reads_texts
           && PyBytes_GET_SIZE(kept->raw) == PyBytes_GET_SIZE(raw)
           && memcmp(PyBytes_AS_STRING(kept->raw), PyBytes_AS_STRING(raw), (size_t)PyBytes_GET_SIZE(raw)) == 0;
}

static void keep_digest(KeptDigest *kept, PyObject *head, const Hides *read, PyObject *raw, PyObject *digest) {
    KeptDigest before = *kept;
    *kept = (KeptDigest){Py_NewRef(head), Py_NewRef(read->known), Py_NewRef(raw), Py_NewRef(digest), read->reads_texts};
    Py_XDECREF(before.head);
    Py_XDECREF(before.known);
    Py_XDECREF(before.raw);
    Py_XDECREF(before.digest);
}

/* What `digest_of_scalars` was given. */
enum { DUMPS, SORTED, ALGORITHM, ASKED_FOR_DIGEST };

/* digest_of_scalars(attributes, head, hides) */
static PyObject *digest_of_scalars(PyObject *facts, PyObject *const *given, Py_ssize_t count) {
    if (count != 3 || !PyDict_CheckExact(given[0]) || !PyBytes_CheckExact(given[1]))
        return PyErr_SetString(PyExc_TypeError, "digest_of_scalars(attributes, head, hides)"), NULL;
    PyObject *attributes = given[0], *are_few = PyDict_GET_SIZE(attributes) > MOST_SHOWN ? Py_NewRef(Py_False) : are_few_scalars(NULL, attributes);
    if (are_few != Py_True) return Py_XDECREF(are_few), are_few == NULL ? NULL : Py_NewRef(Py_None);
    Py_DECREF(are_few);
    PyObject *dumps[] = {attributes, Py_None, PyTuple_GET_ITEM(facts, SORTED)}, *answer = NULL, *name;
    PyObject *raw = PyObject_Vectorcall(PyTuple_GET_ITEM(facts, DUMPS), dumps, 3, NULL);
    if (raw == NULL || !PyBytes_CheckExact(raw)) return Py_XDECREF(raw), NULL;
    const char *bytes = PyBytes_AS_STRING(raw);
    Py_ssize_t size = PyBytes_GET_SIZE(raw);
    Hides read;
    if (!read_hides(given[2], &read)) return Py_DECREF(raw), NULL;
    KeptDigest *kept = read.known == NULL ? NULL : kept_digest(raw);
    if (kept != NULL && is_kept(kept, given[1], &read, raw)) {
        answer = Py_NewRef(kept->digest);
        goto done;
    }
    int is_small = size <= MOST_SMALL_BYTES;
    if (size > MOST_TEXT_SHOWN)
        for (Py_ssize_t at = 0; is_small && PyDict_Next(attributes, &at, &name, NULL);) is_small = PyUnicode_GET_LENGTH(name) <= MOST_TEXT_SHOWN;
    int harmless = !is_small ? 0 : are_harmless(given[2], &read, attributes, raw);
    if (harmless == 0) {
        answer = Py_NewRef(Py_None);
    } else if (harmless == 1 && may_differ_elsewhere(bytes, size)) {
        answer = PyObject_Vectorcall(PyTuple_GET_ITEM(facts, ASKED_FOR_DIGEST), given, 3, NULL);
    } else if (harmless == 1) {
        char number[24], digits[16];
        int width = snprintf(number, sizeof number, "j.%zd:", size);
        Part parts[] = {part_of(given[1]), {number, width}, {bytes, size}};
        PyObject *algorithm = PyTuple_GET_ITEM(facts, ALGORITHM);
        Py_ssize_t before = PyUnicode_GET_LENGTH(algorithm);
        blake_digits(parts, 3, digits);
        if ((answer = PyUnicode_New(before + 17, 127)) != NULL) {
            char *at = put_bytes((char *)PyUnicode_1BYTE_DATA(answer), (const char *)PyUnicode_1BYTE_DATA(algorithm), before);
            *at++ = ':';
            put_bytes(at, digits, 16);
            if (kept != NULL) keep_digest(kept, given[1], &read, raw, answer);
        }
    }
done:
    Py_XDECREF(read.known);
    Py_DECREF(raw);
    return answer;
}

static PyMethodDef digest_of_scalars_definition = {"digest_of_scalars", (PyCFunction)(void (*)(void))digest_of_scalars, METH_FASTCALL,
                                                   "The digest of an object of few short scalars, else None."};

/* digester(dumps, options, algorithm, asked): `digest_of_scalars`, which asks `asked` where it cannot say. */
static PyObject *digester(PyObject *Py_UNUSED(module), PyObject *facts) {
    if (PyTuple_GET_SIZE(facts) == ASKED_FOR_DIGEST + 1 && is_ascii(PyTuple_GET_ITEM(facts, ALGORITHM)))
        return PyCFunction_New(&digest_of_scalars_definition, facts);
    return PyErr_SetString(PyExc_TypeError, "digester(dumps, options, algorithm, asked)"), NULL;
}
