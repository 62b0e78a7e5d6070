/* Draws from adopted generators of `random`, and the reads of an action. Part of `_native.c`.

   The same as `AdoptedRandom` and `Reads` do in Python, which are asked wherever a player answers, another thread begins to
   draw, or the generator was seeded. Nothing may come between a count and its draw: threads change only where Python runs. */

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
    PyObject *raw = PyObject_CallOneArg(lane->judge->dumps, GET(reads, KEPT_READS_segments)), *body = NULL;
    if (raw != NULL && PyBytes_CheckExact(raw)) {
        Part parts[] = {{"\"reads\":", 8}, part_of(raw), {",", 1}};
        body = joined(parts, 3);
    }
    Py_XDECREF(raw);
    return body;
}
