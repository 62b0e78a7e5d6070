/* Draws from adopted generators of `random`, and the reads of an action. Part of `_native.c`.

   The same as `AdoptedRandom` and `Reads` do in Python, which are asked wherever a player answers, another thread begins to
   draw, or the generator was seeded. Nothing may come between a count and its draw: threads change only where Python runs. */

static void blake_digits(const Part *parts, int count, char *digits);

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *adopted, *generator, *method, *slowly, *installed, *scope;
    long words; /* of each call; 0 where the argument says it */
} Draw;

/* The words that a call draws; 0 where Python has to say. */
static long long words_drawn(const Draw *draw, PyObject *const *given, Py_ssize_t count, PyObject *names) {
    if (names != NULL) return 0;
    if (draw->words > 0) return count == 0 ? draw->words : 0;
    if (count != 1 || !PyLong_CheckExact(given[0])) return 0;
    int is_over;
    long long bits = PyLong_AsLongLongAndOverflow(given[0], &is_over);
    return is_over || bits <= 0 || bits > INT32_MAX ? 0 : (bits + 31) / 32;
}

/* `AdoptedRandom.begin` where the state that its positions count from is told, and nobody else begins. 1; 0 where Python has to. */
static int begins_to_draw(const Draw *draw, PyObject *reads) {
    PyObject *adopted = draw->adopted, *segment = NULL, *fresh = NULL, *kept = NULL;
    if (GET(adopted, ADOPTED_owner) == adopted || GET(adopted, RANDOM__was_seeded) != Py_False) return 0;
    PyObject *zero = PyLong_FromLong(0);
    if (zero == NULL) return 0;
    segment = PyList_New(2);
    if (segment == NULL || (reads != Py_None && (fresh = PyList_New(0)) == NULL)) {
        Py_XDECREF(segment);
        Py_DECREF(zero);
        return 0;
    }
    int is_outside = reads == Py_None, done = 0;
    PyList_SET_ITEM(segment, 0, Py_NewRef(is_outside ? zero : GET(adopted, RANDOM_position)));
    PyList_SET_ITEM(segment, 1, zero);
    if (!is_outside) {
        PyObject *active = PyDict_GetItemWithError(draw->installed, W_active), *key = GET(adopted, RANDOM_key);
        PyObject *own = PyObject_GenericGetDict(draw->generator, NULL);
        PyObject *spare = own == NULL ? NULL : PyDict_GetItemWithError(own, W_gauss_next), *segments;
        Py_XDECREF(own);
        if (!IS_A(reads, KEPT_READS) || active == NULL || active == Py_None || active != GET(adopted, RANDOM__pipeline) || spare != Py_None
            || !PyUnicode_CheckExact(key) || GET(reads, KEPT_READS_closed) != Py_False) goto done;
        segments = GET(reads, KEPT_READS_segments);
        if (!PyDict_CheckExact(segments)) goto done;
        kept = PyDict_SetDefault(segments, key, fresh); /* borrowed */
        if (kept == NULL || !PyList_CheckExact(kept)) goto done;
        /* To make containers may have run any code: the count begins where the generator stands now. */
        if (GET(adopted, ADOPTED_owner) == adopted) goto done;
        Py_INCREF(kept);
        PyList_SetItem(segment, 0, Py_NewRef(GET(adopted, RANDOM_position)));
        int failed = PyList_Append(kept, segment) < 0;
        Py_DECREF(kept);
        if (failed) goto done;
    }
    PUT(adopted, ADOPTED_segment, Py_NewRef(segment));
    PUT(adopted, ADOPTED_owner, Py_NewRef(reads));
    done = 1;
done:
    Py_XDECREF(fresh);
    Py_DECREF(segment);
    PyErr_Clear();
    return done;
}

/* Count words that are about to be drawn. 1; 0 where Python has to. */
static int counts(const Draw *draw, long long words) {
    PyObject *player = PyDict_GetItemWithError(draw->installed, W_source_player), *scope, *adopted = draw->adopted;
    if (player != Py_None || (scope = current(draw->scope)) == NULL) return 0;
    PyObject *reads = scope == Py_None ? Py_None : IS_A(scope, SCOPE) ? GET(scope, SCOPE_reads) : NULL;
    int is_counted = 0;
    if (reads == NULL || (GET(adopted, ADOPTED_owner) != reads && !begins_to_draw(draw, reads))) goto done;
    PyObject *segment = GET(adopted, ADOPTED_segment);
    if (!PyList_CheckExact(segment) || PyList_GET_SIZE(segment) < 2) goto done;
    PyObject *position = PyLong_FromLongLong(PyLong_AsLongLong(GET(adopted, RANDOM_position)) + words);
    PyObject *count = PyLong_FromLongLong(PyLong_AsLongLong(PyList_GET_ITEM(segment, 1)) + words);
    if (PyErr_Occurred() || position == NULL || count == NULL) {
        Py_XDECREF(position);
        Py_XDECREF(count);
        goto done;
    }
    PUT(adopted, RANDOM_position, position);
    PyList_SetItem(segment, 1, count);
    is_counted = 1;
done:
    Py_DECREF(scope);
    return is_counted;
}

static PyObject *draw_call(Draw *draw, PyObject *const *given, size_t flags, PyObject *names) {
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    long long words = words_drawn(draw, given, count, names);
    if (words > 0 && counts(draw, words)) return PyObject_Vectorcall(draw->method, given, (size_t)count, NULL);
    PyErr_Clear();
    return PyObject_Vectorcall(draw->slowly, given, (size_t)count, names);
}

/* Draw(adopted, generator, method, slowly, words, installed, scope): a method of a generator that counts what it draws.
   `slowly` does the same in Python. */
static int draw_init(Draw *draw, PyObject *args, PyObject *kwargs) {
    PyObject *adopted, *generator, *method, *slowly, *installed, *scope;
    if (draw->adopted != NULL || !PyArg_ParseTuple(args, "OOOOlO!O", &adopted, &generator, &method, &slowly, &draw->words,
                                                   &PyDict_Type, &installed, &scope))
        return PyErr_Occurred() ? -1 : (PyErr_SetString(PyExc_TypeError, "a draw is made once"), -1);
    if (!IS_A(adopted, RANDOM) || !PyContextVar_CheckExact(scope)) {
        PyErr_SetString(PyExc_TypeError, "a draw is made of an adopted generator of `random`");
        return -1;
    }
    draw->vectorcall = (vectorcallfunc)draw_call;
    draw->adopted = Py_NewRef(adopted);
    draw->generator = Py_NewRef(generator);
    draw->method = Py_NewRef(method);
    draw->slowly = Py_NewRef(slowly);
    draw->installed = Py_NewRef(installed);
    draw->scope = Py_NewRef(scope);
    return 0;
}

static int draw_traverse(Draw *draw, visitproc visit, void *arg) {
    Py_VISIT(draw->adopted);
    Py_VISIT(draw->generator);
    Py_VISIT(draw->method);
    Py_VISIT(draw->slowly);
    return 0;
}

static int draw_clear(Draw *draw) {
    Py_CLEAR(draw->adopted);
    Py_CLEAR(draw->generator);
    Py_CLEAR(draw->method);
    Py_CLEAR(draw->slowly);
    return 0;
}

static void draw_dealloc(Draw *draw) {
    PyObject_GC_UnTrack(draw);
    draw_clear(draw);
    Py_CLEAR(draw->installed);
    Py_CLEAR(draw->scope);
    Py_TYPE(draw)->tp_free((PyObject *)draw);
}

static PyTypeObject draw_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Agent.record.encode._native.Draw",
    .tp_doc = "A method of a generator that counts what it draws.",
    .tp_basicsize = sizeof(Draw),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Draw, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)draw_traverse,
    .tp_clear = (inquiry)draw_clear,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)draw_init,
    .tp_dealloc = (destructor)draw_dealloc,
};

/* new_reads(function): as `Reads()`. */
static PyObject *new_reads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(function)) {
    if (CLASS[KEPT_READS] == NULL) return PyErr_Format(PyExc_TypeError, "the class Reads was not learnt");
    PyObject *reads = CLASS[KEPT_READS]->tp_alloc(CLASS[KEPT_READS], 0);
    if (reads == NULL) return NULL;
    PUT(reads, KEPT_READS_values, PyDict_New());
    PUT(reads, KEPT_READS_environment, PyDict_New());
    PUT(reads, KEPT_READS_segments, PyDict_New());
    PUT(reads, KEPT_READS_at_close, PyList_New(0));
    PUT(reads, KEPT_READS_closed, Py_NewRef(Py_False));
    if (GET(reads, KEPT_READS_values) && GET(reads, KEPT_READS_environment) && GET(reads, KEPT_READS_segments) && GET(reads, KEPT_READS_at_close)) return reads;
    Py_DECREF(reads);
    return NULL;
}

/* Whether segments are counts of a generator of `random`, none of them empty. */
static int are_counts(PyObject *segments) {
    PyObject *key, *kept;
    for (Py_ssize_t at = 0; PyDict_Next(segments, &at, &key, &kept);) {
        if (!PyUnicode_CheckExact(key) || !PyList_CheckExact(kept) || PyUnicode_GET_LENGTH(key) < 7 || !PyUnicode_IS_ASCII(key)
            || memcmp(PyUnicode_1BYTE_DATA(key), "random@", 7) != 0) return 0;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(kept); i++) {
            PyObject *segment = PyList_GET_ITEM(kept, i);
            if (!PyList_CheckExact(segment) || PyList_GET_SIZE(segment) < 2 || !PyLong_CheckExact(PyList_GET_ITEM(segment, 1))
                || PyObject_IsTrue(PyList_GET_ITEM(segment, 1)) != 1) return 0;
        }
    }
    return 1;
}

enum { READS_BYTES = 256 };
static int is_simple(const char *text, Py_ssize_t size);

/* Put a whole number that is not negative; NULL where there is no room or it is another one. */
static char *put_count(char *at, const char *end, PyObject *number) {
    long long count = PyLong_CheckExact(number) ? as_number(number) : -1;
    int width = 1;
    for (long long rest = count; rest >= 10; rest /= 10) width++;
    return count < 0 || end - at < width ? NULL : put_digits(at, (unsigned long long)count, width);
}

/* What the codec would give of few short segments, which `are_counts`, with its key; NULL for others. */
static PyObject *short_counts(PyObject *segments) {
    char text[READS_BYTES], *at = put_bytes(text, "\"reads\":{", 9), *const end = text + sizeof text - 8;
    PyObject *key, *kept;
    for (Py_ssize_t place = 0; PyDict_Next(segments, &place, &key, &kept);) {
        Py_ssize_t size = PyUnicode_GET_LENGTH(key);
        if (end - at < size + 4 || !is_simple((const char *)PyUnicode_1BYTE_DATA(key), size)) return NULL;
        at = put_bytes(put_bytes(put_bytes(at, "\"", 1), (const char *)PyUnicode_1BYTE_DATA(key), size), "\":[", 3);
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(kept); i++) {
            PyObject *segment = PyList_GET_ITEM(kept, i);
            if (PyList_GET_SIZE(segment) != 2) return NULL;
            *at++ = '[';
            if ((at = put_count(at, end, PyList_GET_ITEM(segment, 0))) == NULL) return NULL;
            *at++ = ',';
            if ((at = put_count(at, end, PyList_GET_ITEM(segment, 1))) == NULL) return NULL;
            at = put_bytes(at, "],", 2);
        }
        if (PyList_GET_SIZE(kept) > 0) at--;
        at = put_bytes(at, "],", 2);
    }
    at[-1] = '}';
    *at++ = ',';
    return PyBytes_FromStringAndSize(text, at - text);
}

/* As `Reads.plain_body`, a new reference; not bytes where `body` has to look closer. */
static PyObject *body_of_reads(Lane *lane, PyObject *reads) {
    if (!IS_A(reads, KEPT_READS) || !PyDict_CheckExact(GET(reads, KEPT_READS_segments)) || PyObject_Size(GET(reads, KEPT_READS_at_close)) != 0
        || PyObject_Size(GET(reads, KEPT_READS_values)) != 0 || PyObject_Size(GET(reads, KEPT_READS_environment)) != 0
        || !are_counts(GET(reads, KEPT_READS_segments))) {
        PyErr_Clear();
        return PyObject_CallMethodNoArgs(reads, W_plain_body);
    }
    PUT(reads, KEPT_READS_closed, Py_NewRef(Py_True));
    if (PyDict_GET_SIZE(GET(reads, KEPT_READS_segments)) == 0) return Py_NewRef(NO_BYTES);
    PyObject *body = short_counts(GET(reads, KEPT_READS_segments)), *raw;
    if (body != NULL) return body;
    PyErr_Clear();
    raw = PyObject_CallOneArg(lane->judge->dumps, GET(reads, KEPT_READS_segments));
    if (raw != NULL && PyBytes_CheckExact(raw)) {
        Part parts[] = {{"\"reads\":", 8}, part_of(raw), {",", 1}};
        body = joined(parts, 3);
    }
    Py_XDECREF(raw);
    return body;
}

/* ---- where an action left the generators in its agent's fields ---- */

static PyTypeObject *PLAIN_RANDOM; /* `random.Random`, once an agent has held one */

static int is_plain_random(PyTypeObject *kind) {
    if (kind == PLAIN_RANDOM) return 1;
    if (PLAIN_RANDOM != NULL || kind->tp_base == NULL || strcmp(kind->tp_name, "Random") != 0 || strcmp(kind->tp_base->tp_name, "_random.Random") != 0)
        return 0;
    PyObject *module = PyDict_GetItemWithError(kind->tp_dict, W___module__);
    if (module == NULL || !PyUnicode_Check(module) || PyUnicode_CompareWithASCIIString(module, "random") != 0) return 0;
    PLAIN_RANDOM = (PyTypeObject *)Py_NewRef(kind);
    return 1;
}

/* `stream_position` of a generator whose draws are not recorded one by one; None where Python has to say. */
static PyObject *place_in_stream(PyObject *generator) {
    const char *kind = Py_TYPE(generator)->tp_name;
    if (is_plain_random(Py_TYPE(generator))) {
        PyObject *own = PyObject_GenericGetDict(generator, NULL);
        Twister *twister = own == NULL ? NULL : twister_of(generator);
        int is_own = twister != NULL && PyDict_GetItemWithError(own, W_gauss_next) == Py_None
                     && PyDict_GetItemWithError(own, W_getrandbits) == NULL; /* of an adopted one */
        Py_XDECREF(own);
        if (is_own && !PyErr_Occurred()) return Py_BuildValue("(kis)", (unsigned long)twister->words[0], twister->index, "None");
    } else if (strcmp(kind, "numpy.random._generator.Generator") == 0 || strcmp(kind, "numpy.random.mtrand.RandomState") == 0) {
        return numpy_mark(NULL, generator);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

enum { MOST_DRAWN = 8, LONGEST_NAME = 64, DIGITS_OF_DIGEST = 16 };

/* Put `"name":"`; NULL where the name is long, has to be escaped, or may be a secret. */
static char *put_name(Lane *lane, char *at, PyObject *name) {
    if (!PyUnicode_IS_COMPACT_ASCII(name) || PyUnicode_GET_LENGTH(name) > LONGEST_NAME) return NULL;
    Part text = {(const char *)PyUnicode_1BYTE_DATA(name), PyUnicode_GET_LENGTH(name)};
    for (Py_ssize_t i = 0; i < text.size; i++)
        if (text.bytes[i] < ' ' || text.bytes[i] == '"' || text.bytes[i] == '\\') return NULL;
    if (lane->judge->looks_clean != Py_None) {
        Part parts[] = {{"[\"", 2}, text, {"\"]", 2}};
        PyObject *raw = joined(parts, 3);
        int clean = raw == NULL ? -1 : is_clean(lane->judge, raw, 0);
        Py_XDECREF(raw);
        if (clean != 1) return NULL;
    }
    *at++ = '"';
    at = put_bytes(at, text.bytes, text.size);
    return put_bytes(at, "\":\"", 3);
}

/* `with_draws` for generators whose places are read here; NULL, without an exception, where Python has to. */
static PyObject *tail_with_draws(Lane *lane, PyObject *tracker, PyObject *fields, PyObject *tail) {
    char text[MOST_DRAWN * (LONGEST_NAME + DIGITS_OF_DIGEST + 6)], *end = text;
    PyObject *body = PyTuple_Check(tail) ? PyTuple_GET_ITEM(tail, 0) : tail, *told = NULL, *name, *last;
    PyObject *before = Py_NewRef(GET(tracker, TRACKER_streams)), *now = PyDict_Copy(before);
    Py_ssize_t at = 0;
    int drawn = 0;
    if (now == NULL || !PyBytes_CheckExact(body)) goto done;
    while (PyDict_Next(before, &at, &name, &last)) {
        PyObject *generator = PyDict_GetItemWithError(fields, name), *place = NULL, *shown = NULL;
        if (generator == NULL || (place = place_in_stream(generator)) == NULL || place == Py_None) {
            Py_XDECREF(place);
            goto done;
        }
        int same = PyObject_RichCompareBool(place, last, Py_EQ);
        int is_put = same == 0 && drawn++ < MOST_DRAWN && (shown = PyObject_Repr(place)) != NULL && PyUnicode_IS_COMPACT_ASCII(shown)
                     && PyDict_SetItem(now, name, place) == 0;
        Py_DECREF(place);
        if (is_put) {
            Part part = {(const char *)PyUnicode_1BYTE_DATA(shown), PyUnicode_GET_LENGTH(shown)};
            if (end != text) *end++ = ',';
            char *next = put_name(lane, end, name);
            is_put = next != NULL;
            if (is_put) {
                blake_digits(&part, 1, next);
                end = put_bytes(next + DIGITS_OF_DIGEST, "\"", 1);
            }
        }
        Py_XDECREF(shown);
        if (same != 1 && !is_put) goto done;
    }
    Part parts[] = {{PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body) - 1}, {",\"drew\":{", 9}, {text, end - text}, {"}}", 2}};
    told = drawn == 0 ? Py_NewRef(body) : joined(parts, 4);
    if (told != NULL && body != tail) Py_SETREF(told, PyTuple_Pack(2, told, PyTuple_GET_ITEM(tail, 1)));
    if (told != NULL && drawn > 0) PUT(tracker, TRACKER_streams, Py_NewRef(now));
done:
    if (told == NULL) PyErr_Clear();
    Py_XDECREF(now);
    Py_DECREF(before);
    return told;
}
